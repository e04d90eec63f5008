"""Vectors for compiled code: pixels of four samples, RGB and one that is not used.

Numba has no such types, and LLVM does not find them in loops over pixels of three samples, which spend most
of their time on single bytes. Each function here writes LLVM's own language, from which LLVM makes the vector
instructions of any processor. They can be called in compiled code only, and check no bounds.

A vector is four pixels of floats, or one pixel of bytes, whose samples are held in 16 bits.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

PIXELS, SAMPLES = 4, 4
"""Pixels of a vector, and samples of each."""

LANES = PIXELS * SAMPLES

_BYTE, _INT, _FLOAT = ir.IntType(8), ir.IntType(32), ir.FloatType()
_BYTES, _INTS, _FLOATS = (ir.VectorType(kind, LANES) for kind in (_BYTE, _INT, _FLOAT))


_PIXEL_BYTES, _SAMPLES = (ir.VectorType(ir.IntType(bits), SAMPLES) for bits in (8, 16))


class _Vector(types.Type):
    def __init__(self, name: str, code: Any) -> None:
        super().__init__(name)
        self.code = code


_ARRAY, _AT, _WEIGHT = None, types.intp, types.float32
_VECTOR, _PIXEL = _Vector("float32x16", _FLOATS), _Vector("uint16x4", _SAMPLES)


@register_model(_Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.code)  # type: ignore[no-untyped-call]


def _function(result: Any, *parameters: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a function of compiled code from one that writes its instructions.

    Args:
        result, parameters: their types; `_ARRAY` for any 1-D array without gaps
    """

    def made(write: Callable[..., Any]) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = zip(parameters, signature.args, arguments, strict=True)
            values = [
                _data(context, builder, kind, value) if of is _ARRAY else value for of, kind, value in kinds
            ]
            written = write(builder, *values)
            return context.get_dummy_value() if written is None else written

        @functools.wraps(write)  # numba asks for the parameters' names
        def typed(_: Any, *given: Any) -> Any:
            return result(*(of or kind for of, kind in zip(parameters, given, strict=True))), code

        return intrinsic(typed)

    return made


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


@_function(_VECTOR, _ARRAY, _AT)
def load(builder: Any, values: Any, at: Any) -> Any:
    """Return 16 floats."""
    return builder.load(_address(builder, values, at, _FLOATS), align=4)


@_function(types.void, _ARRAY, _AT, _VECTOR)
def store(builder: Any, values: Any, at: Any, vector: Any) -> None:
    """Write 16 floats."""
    builder.store(vector, _address(builder, values, at, _FLOATS), align=4)


@_function(_VECTOR, _VECTOR, _WEIGHT)
def weighted(builder: Any, vector: Any, weight: Any) -> Any:
    """Return vector * weight."""
    return builder.fmul(vector, _repeated(builder, weight))


@_function(_VECTOR, _VECTOR, _WEIGHT, _VECTOR)
def added(builder: Any, vector: Any, weight: Any, total: Any) -> Any:
    """Return total + vector * weight, rounded after each of the two."""
    return builder.fadd(total, builder.fmul(vector, _repeated(builder, weight)))


@_function(_VECTOR, _VECTOR, _WEIGHT, _VECTOR)
def fused(builder: Any, vector: Any, weight: Any, total: Any) -> Any:
    """Return total + vector * weight, rounded once."""
    return _called(builder, "llvm.fma.v16f32", vector, _repeated(builder, weight), total)


@_function(_VECTOR, _ARRAY, _AT, _AT)
def load_pixels(builder: Any, rows: Any, at: Any, stride: Any) -> Any:
    """Return four pixels that are `stride` bytes apart; the byte after each is read as well."""
    pixels = ir.Constant(ir.VectorType(_INT, PIXELS), ir.Undefined)
    for pixel in range(PIXELS):
        value = builder.load(_address(builder, rows, at, _INT), align=1)
        pixels = builder.insert_element(pixels, value, _INT(pixel))
        at = builder.add(at, stride)
    return builder.uitofp(builder.bitcast(pixels, _BYTES), _FLOATS)


@_function(types.void, _ARRAY, _AT, _AT, _VECTOR)
def store_pixels(builder: Any, rows: Any, at: Any, stride: Any, vector: Any) -> None:
    """Write four pixels that are `stride` floats apart."""
    for start in range(0, LANES, SAMPLES):
        pixel = _chosen(builder, vector, range(start, start + SAMPLES))
        builder.store(pixel, _address(builder, rows, at, pixel.type), align=4)
        at = builder.add(at, stride)


@_function(types.void, _ARRAY, _AT, _AT, _VECTOR)
def store_planes(builder: Any, planes: Any, at: Any, stride: Any, vector: Any) -> None:
    """Write four pixels as bytes, rounded half to even, to three planes that are `stride` bytes apart."""
    whole = builder.fptosi(_called(builder, "llvm.rint.v16f32", vector), _INTS)
    samples = builder.trunc(whole, _BYTES)
    for plane in range(3):
        part = _chosen(builder, samples, range(plane, LANES, SAMPLES))
        builder.store(part, _address(builder, planes, at, part.type), align=1)
        at = builder.add(at, stride)


@_function(_PIXEL)
def black(_: Any) -> Any:
    """Return a pixel of zeros."""
    return _pixel_of(0)


@_function(_PIXEL, _ARRAY, _AT)
def load_pixel(builder: Any, samples: Any, at: Any) -> Any:
    """Return a pixel of bytes; the byte after it is read as well."""
    return builder.zext(builder.load(_address(builder, samples, at, _PIXEL_BYTES), align=1), _SAMPLES)


@_function(types.void, _ARRAY, _AT, _PIXEL)
def store_pixel(builder: Any, samples: Any, at: Any, pixel: Any) -> None:
    """Write a pixel as bytes; the byte after it is written as well."""
    builder.store(builder.trunc(pixel, _PIXEL_BYTES), _address(builder, samples, at, _PIXEL_BYTES), align=1)


@_function(_PIXEL, _PIXEL, _PIXEL)
def plus(builder: Any, one: Any, other: Any) -> Any:
    """Return the sum of two pixels, modulo 256."""
    return builder.and_(builder.add(one, other), _pixel_of(255))


@_function(_PIXEL, _PIXEL, _PIXEL)
def mean(builder: Any, one: Any, other: Any) -> Any:
    """Return the mean of two pixels, rounded down."""
    return builder.lshr(builder.add(one, other), _pixel_of(1))


@_function(_PIXEL, _PIXEL, _PIXEL, _PIXEL)
def nearest(builder: Any, left: Any, up: Any, up_left: Any) -> Any:
    """Return Paeth's choice of three: of each sample the first one that is nearest to left + up - up_left."""
    down, right = builder.sub(up, up_left), builder.sub(left, up_left)
    to_left, to_up = _absolute(builder, down), _absolute(builder, right)
    to_up_left = _absolute(builder, builder.add(down, right))
    least = _called(
        builder, "llvm.smin.v4i16", _called(builder, "llvm.smin.v4i16", to_left, to_up), to_up_left
    )
    rest = builder.select(builder.icmp_signed("==", to_up, least), up, up_left)
    return builder.select(builder.icmp_signed("==", to_left, least), left, rest)


def _pixel_of(value: int) -> Any:
    return ir.Constant(_SAMPLES, [value] * SAMPLES)


def _absolute(builder: Any, pixel: Any) -> Any:
    return _called(builder, "llvm.abs.v4i16", pixel, ir.IntType(1)(0))


def _address(builder: Any, data: Any, at: Any, of: Any) -> Any:
    return builder.bitcast(builder.gep(data, [at]), of.as_pointer())


def _chosen(builder: Any, vector: Any, lanes: Sequence[int]) -> Any:
    mask = ir.Constant(ir.VectorType(_INT, len(lanes)), list(lanes))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _repeated(builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, _INT(0))
    return _chosen(builder, one, [0] * LANES)


def _called(builder: Any, name: str, *arguments: Any) -> Any:
    kind = ir.FunctionType(arguments[0].type, [argument.type for argument in arguments])
    found = builder.module.globals.get(name)
    return builder.call(found or ir.Function(builder.module, kind, name), arguments)
