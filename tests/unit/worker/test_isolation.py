"""Careful mode: what an image does to the child that decodes it, and what is said of the image then.

The children are real ones; a poisoned Pillow in them crashes or hangs over files that hold a marker.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contract.errors import ErrorCode, ItemError
from worker.decode import decode_crop
from worker.isolation import CROP, IsolatedDecoder

CRASH, CRASH_ONCE, HANG, FLOOD = b"poison:crash", b"poison:first", b"poison:hang", b"poison:flood"

POISONED = """
import os, threading, time
from pathlib import Path
from PIL import Image

time.sleep(float(os.environ.get("SLOW_START_SECONDS", "0")))
folder, real = Path(__file__).parent, Image.open

def open_poisoned(file, *args, **options):
    data = file.getvalue()
    if b"poison:crash" in data:
        with (folder / "crashes").open("a") as crashes:
            crashes.write("x")
        os._exit(1)
    if b"poison:first" in data and not (folder / "crashed").exists():
        (folder / "crashed").touch()
        os._exit(1)
    if b"poison:hang" in data:
        threading.Event().wait()
    if b"poison:flood" in data:
        bytearray(1 << 40)
    return real(file, *args, **options)

Image.open = open_poisoned
"""

MAX_PIXELS, PATIENCE, MEMORY = 1_000_000, 120.0, 2**31
"""Limits that no good image here comes near, however busy the machine is."""

Encode = Callable[..., bytes]


@pytest.fixture
def poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Given children whose Pillow has bugs; return the folder where these keep count."""
    (tmp_path / "sitecustomize.py").write_text(POISONED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def make_decoder() -> Iterator[Callable[..., IsolatedDecoder]]:
    made = []

    def make(seconds: float = PATIENCE, memory: int = MEMORY, pixels: int = MAX_PIXELS) -> IsolatedDecoder:
        made.append(IsolatedDecoder(pixels, seconds, memory))
        return made[-1]

    yield make
    for decoder in made:
        decoder.close()


@pytest.fixture
def decoder(make_decoder: Callable[..., IsolatedDecoder]) -> IsolatedDecoder:
    return make_decoder()


def child_of(decoder: IsolatedDecoder) -> int | None:
    """Return the process id of the decoder's child."""
    return decoder._child[0].pid if decoder._child else None


def refusal(decoder: IsolatedDecoder, data: bytes) -> ItemError:
    with pytest.raises(ItemError) as raised:
        decoder.decode(CROP, data)
    return raised.value


class TestGoodImages:
    def test_the_pixels_are_those_of_decoding_in_this_process(
        self, decoder: IsolatedDecoder, encode: Encode
    ) -> None:
        noise = np.random.default_rng(7).integers(0, 256, (13, 29, 3), np.uint8)
        for file_format in ("PNG", "JPEG", "BMP"):
            data = encode(Image.fromarray(noise), file_format)

            image = decoder.decode(CROP, data)

            assert np.array_equal(image.pixels, decode_crop(data, MAX_PIXELS).pixels)
            assert (image.pixels.dtype, image.note) == (np.uint8, None)

    def test_the_note_comes_along(self, decoder: IsolatedDecoder, encode: Encode) -> None:
        frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "blue")]
        data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])

        assert decoder.decode(CROP, data).note == "first of 2 frames"

    def test_the_pixels_may_be_written_to_as_those_of_this_process_may(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        assert decoder.decode(CROP, png(9)).pixels.flags.writeable

    def test_one_child_serves_many_images(self, decoder: IsolatedDecoder, png: Encode) -> None:
        children = set()
        for level in range(5):
            decoder.decode(CROP, png(level))
            children.add(child_of(decoder))

        assert len(children) == 1

    def test_a_closed_decoder_has_no_child_and_may_be_closed_again(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        decoder.decode(CROP, png(1))

        decoder.close()
        decoder.close()

        assert child_of(decoder) is None


class TestBadImages:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            (b"no image", ErrorCode.NOT_AN_IMAGE),
            (b"\x89PNG\r\n\x1a\n", ErrorCode.TRUNCATED),
            ((1, 8), ErrorCode.TOO_SMALL),
            ((600, 2), ErrorCode.EXTREME_ASPECT),
            ((1001, 1000), ErrorCode.TOO_MANY_PIXELS),
        ],
        ids=str,
    )
    def test_what_is_said_is_what_decoding_in_this_process_says(
        self, data: bytes | tuple[int, int], code: ErrorCode, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        bad = data if isinstance(data, bytes) else png(0, data)
        with pytest.raises(ItemError) as here:
            decode_crop(bad, MAX_PIXELS)

        there = refusal(decoder, bad)

        assert (there.code, there.message) == (code, here.value.message)

    def test_a_bad_image_costs_no_child(self, decoder: IsolatedDecoder, png: Encode) -> None:
        decoder.decode(CROP, png(1))
        child = child_of(decoder)

        refusal(decoder, b"no image")

        assert child_of(decoder) == child


@pytest.mark.usefixtures("poisoned")
class TestPoison:
    def test_an_image_that_crashes_two_children_is_to_blame_and_the_next_is_read(
        self, decoder: IsolatedDecoder, png: Encode, poisoned: Path
    ) -> None:
        blamed = refusal(decoder, png(1) + CRASH)

        assert blamed.code == ErrorCode.WORKER_CRASHED
        assert "crashed 2 processes in a row" in blamed.message
        assert (poisoned / "crashes").read_text() == "xx"
        assert decoder.decode(CROP, png(7)).pixels[0, 0, 0] == 7

    def test_an_image_over_which_one_child_died_is_read_by_the_next(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        assert decoder.decode(CROP, png(7) + CRASH_ONCE).pixels[0, 0, 0] == 7

    def test_a_child_that_is_killed_between_two_images_costs_neither(
        self, decoder: IsolatedDecoder, png: Encode
    ) -> None:
        decoder.decode(CROP, png(1))
        assert decoder._child
        decoder._child[0].kill()
        decoder._child[0].join()

        assert decoder.decode(CROP, png(7)).pixels[0, 0, 0] == 7

    def test_an_image_that_hangs_is_timed_out_and_the_next_is_read_by_a_new_child(
        self, decoder: IsolatedDecoder, png: Encode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a child that is up
        decoder.decode(CROP, png(1))
        hung = child_of(decoder)

        # when an image takes longer than it may
        with monkeypatch.context() as impatient:
            impatient.setattr(decoder, "_seconds", 0.2)
            late = refusal(decoder, png(1) + HANG)

        # then
        assert late.code == ErrorCode.TIMED_OUT
        assert "longer than 0.2 s" in late.message
        assert decoder.decode(CROP, png(7)).pixels[0, 0, 0] == 7
        assert child_of(decoder) != hung

    def test_the_start_of_a_child_does_not_count_as_the_images_time(
        self, make_decoder: Callable[..., IsolatedDecoder], png: Encode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SLOW_START_SECONDS", "1.5")

        assert make_decoder(seconds=1.0).decode(CROP, png(7)).pixels[0, 0, 0] == 7

    def test_an_image_that_floods_the_memory_is_to_blame_and_costs_no_child(
        self, make_decoder: Callable[..., IsolatedDecoder], png: Encode
    ) -> None:
        decoder = make_decoder(memory=2**29)
        decoder.decode(CROP, png(1))
        child = child_of(decoder)

        blamed = refusal(decoder, png(1) + FLOOD)

        assert blamed.code == ErrorCode.WORKER_CRASHED
        assert "more than 536,870,912 bytes" in blamed.message
        assert child_of(decoder) == child
        assert decoder.decode(CROP, png(7)).pixels[0, 0, 0] == 7


def test_an_image_whose_pixels_do_not_fit_the_memory_is_to_blame(
    make_decoder: Callable[..., IsolatedDecoder], encode: Encode
) -> None:
    """No poison here: a BMP that says it is 40,000 pixels on each side, and a limit below what that takes."""
    data = bytearray(encode(Image.new("RGB", (8, 4)), "BMP"))
    data[18:26] = (40_000).to_bytes(4, "little") * 2

    blamed = refusal(make_decoder(memory=2**29, pixels=10**10), bytes(data))

    assert blamed.code == ErrorCode.WORKER_CRASHED
    assert "more than 536,870,912 bytes" in blamed.message
