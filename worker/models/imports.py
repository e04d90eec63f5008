"""Imports of docTR and torch, which take seconds: at their first use, and without what only training needs.

Why, and what it saves: docs/decisions/0018-start-of-a-run.md.
"""

import contextlib
import gc
import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

F = TypeVar("F")

TRIED = {"python-doctr": "1.1", "torch": "2.14", "torchvision": "0.29"}
"""Minor versions whose imports are known to use nothing else of these modules; with other versions no import
is deferred."""


class OptimizedModule:
    """Stands in for the type of compiled models, which docTR accepts in predictors that are not used here."""


def undecorated(function: F, *_: Any, **__: Any) -> F:
    """Return the function: replaces the decorator that keeps torch's compiler off docTR's table targets."""
    return function


def deferred(module: str, function: str) -> Callable[..., Any]:
    """Return a function that imports the module of another function when it is called, and calls it."""

    def call(*arguments: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*arguments, **options)

    return call


DEFERRED: dict[str, dict[str, Any]] = {
    # torch's compiler, with sympy and triton. torchvision calls it when it compiles an operator.
    "torch._dynamo": {
        "disable": undecorated,
        "eval_frame": SimpleNamespace(OptimizedModule=OptimizedModule),
    },
    "torch._dynamo.utils": {"is_compile_supported": deferred("torch._dynamo.utils", "is_compile_supported")},
    # docTR's models of tables, its metrics, and its grouping of words into blocks.
    "scipy.interpolate": {"griddata": deferred("scipy.interpolate", "griddata")},
    "scipy.optimize": {"linear_sum_assignment": deferred("scipy.optimize", "linear_sum_assignment")},
    "scipy.cluster.hierarchy": {"fclusterdata": deferred("scipy.cluster.hierarchy", "fclusterdata")},
    # docTR's reading order, augmentations and data sets.
    "scipy.sparse": {"csr_matrix": deferred("scipy.sparse", "csr_matrix")},
    "scipy.sparse.csgraph": {
        "connected_components": deferred("scipy.sparse.csgraph", "connected_components")
    },
    "scipy.ndimage": {"gaussian_filter": deferred("scipy.ndimage", "gaussian_filter")},
    "scipy.io": {"loadmat": deferred("scipy.io", "loadmat")},
    # Models that docTR pushes to a hub and loads from it.
    "huggingface_hub": {
        name: deferred("huggingface_hub", name) for name in ("HfApi", "get_token", "hf_hub_download", "login")
    },
}
"""Modules that docTR and torchvision import for a few names, which they use late or never."""


def doctr_side(module: str) -> Any:
    """Return a module that may import docTR, which takes seconds the first time."""
    if module in sys.modules:
        # It waits for another thread that imports it.
        return importlib.import_module(module)
    with deferred_imports():
        return importlib.import_module(module)


@contextlib.contextmanager
def deferred_imports() -> Iterator[None]:
    """Defer the imports of DEFERRED while docTR is imported: stand-ins with those names replace the modules.

    After the block the modules can be imported as usual; a function of a stand-in imports its module itself.
    Once docTR is there, or another thread imports it, the block changes nothing.
    """
    if "doctr" in sys.modules or not _tried():
        yield
        return
    stand_ins = {name: _stand_in(name) for name in DEFERRED if name not in sys.modules}
    sys.modules.update(stand_ins)
    gc.disable()
    try:
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)
        _keep_imports(large="doctr" in sys.modules)


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Collect no garbage in the block: what imports create stays alive, and would be scanned repeatedly."""
    gc.disable()
    try:
        yield
    finally:
        _keep_imports(large=True)


def _keep_imports(*, large: bool) -> None:
    """Collect garbage again; after large imports without what exists now, which no search need visit."""
    if large:
        gc.freeze()
    gc.enable()


def _tried() -> bool:
    try:
        versions = {name: importlib.metadata.version(name) for name in TRIED}
    except importlib.metadata.PackageNotFoundError:
        return False
    return all(versions[name].startswith(f"{minor}.") for name, minor in TRIED.items())


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(DEFERRED[name])
    return module
