"""Synthetic pages and crops: seeded, labelled, within their curriculum; on Pillow's own font."""

import random
from collections import deque

import numpy as np
import pytest
from PIL import ImageFont

from tools.training.crops import CropRenderer, cut_at_ink
from tools.training.degrade import CAMERA, SCANNER, degrade
from tools.training.detection import TILE, boxes_within, cut_tile
from tools.training.faces import Faces
from tools.training.pages import Page, PageRenderer, colours
from tools.training.sources import VOCAB, Words
from tools.training.text import LONGEST_TEXT, Writer


class PillowFace(Faces):
    """Pillow's embedded font under every path: no font package is needed."""

    def __init__(self):
        super().__init__(every=("anything",))

    def font(self, path, size):
        return ImageFont.load_default(size)


@pytest.fixture
def writer():
    return Writer(Words(english=("harbour", "Committee", "report's"), french=("été", "reçu")))


@pytest.fixture
def pages(writer):
    return PageRenderer(writer, PillowFace(), side=400)


def first_page_with_words(renderer, seed, difficulty):
    rng = random.Random(seed)
    page = renderer.render(rng, difficulty)
    while len(page.words) < 5:
        page = renderer.render(rng, difficulty)
    return page


def test_the_same_seed_renders_the_same_page(pages):
    one, same, other = (pages.render(random.Random(seed), 1.0) for seed in (7, 7, 8))
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.boxes, same.boxes)
    assert one.words == same.words
    assert not np.array_equal(one.image, other.image)


def test_boxes_hold_all_ink_of_a_clean_page(pages):
    page = first_page_with_words(pages, seed=3, difficulty=0.0)
    assert len(page.boxes) == len(page.words)
    ink = page.image.min(axis=2) < 128
    for x0, y0, x1, y1 in page.boxes.astype(int):
        box = ink[y0:y1, x0:x1]
        assert box.any(axis=1).all() or box.any(), "a box without ink"
        # Tables may be ruled: only what lies in no box and is no rule would be a missing label.
        ink[y0 - 1 : y1 + 1, x0 - 1 : x1 + 1] = False
    rules = ink.mean(axis=1) > 0.3
    assert not ink[~rules].any()


def test_words_never_touch(pages):
    page = first_page_with_words(pages, seed=5, difficulty=1.0)
    taken = np.zeros(page.image.shape[:2], dtype=int)
    for x0, y0, x1, y1 in page.boxes.astype(int):
        taken[y0:y1, x0:x1] += 1
    assert taken.max() == 1


def test_the_first_pages_are_dark_on_light():
    for seed in range(200):
        paper, ink = colours(random.Random(seed), difficulty=0.0)
        assert min(paper) > max(ink)


def test_a_tile_over_the_edge_is_black_outside_the_page_and_keeps_what_is_visible():
    boxes = np.array([[10, 10, 60, 30], [350, 350, 390, 380]], dtype=np.float32)
    shown = boxes_within(boxes, x=-20, y=20, side=400)
    assert shown.tolist() == [[30, 0, 80, 10]]


def test_tiles_carry_relative_boxes_of_their_own(pages):
    pool = deque([first_page_with_words(pages, seed=1, difficulty=0.5)])
    for seed in range(20):
        tile, boxes = cut_tile(random.Random(seed), pool, 1.0)
        assert tile.shape == (TILE, TILE, 3)
        assert tile.dtype == np.uint8
        assert boxes.dtype == np.float32
        assert len(boxes)
        assert boxes.min() >= 0
        assert boxes.max() <= 1


def test_a_page_without_words_gives_empty_arrays():
    page = Page(np.zeros((4, 4, 3), np.uint8), np.zeros((0, 4), np.float32), ())
    assert boxes_within(page.boxes, 0, 0, 4).shape == (0, 4)


@pytest.mark.parametrize("look", ["render", "render_scanned", "render_mixed"])
def test_crops_are_seeded_images(look):
    render = getattr(CropRenderer(PillowFace()), look)
    for seed in range(30):
        one, same = (render(random.Random(seed), "Total:", 1.0) for _ in range(2))
        assert one.dtype == np.uint8
        assert one.ndim == 3
        assert np.array_equal(one, same)


def test_a_crop_is_cut_to_its_ink():
    image = np.full((40, 60, 3), 255, np.uint8)
    image[10:30, 15:45] = 0
    image[12:28, 17:43] = 255
    shapes = {cut_at_ink(random.Random(seed), image).shape[:2] for seed in range(20)}
    assert (20, 30) in shapes
    assert all(height >= 17 and width == 30 for height, width in shapes)


def test_no_strength_changes_nothing():
    image = np.random.default_rng(0).integers(0, 255, (20, 50, 3), dtype=np.uint8)
    assert np.array_equal(degrade(random.Random(1), image, CAMERA + SCANNER, 0.0), image)


@pytest.mark.parametrize("step", [step for step, _ in CAMERA + SCANNER])
def test_every_degradation_keeps_the_size_and_is_seeded(step):
    image = np.random.default_rng(0).integers(0, 255, (20, 50, 3), dtype=np.uint8)
    one, same = (step(random.Random(4), image) for _ in range(2))
    assert one.shape == image.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)


def test_texts_are_spelled_with_the_vocabulary(writer):
    rng = random.Random(2)
    for text in [writer.word(rng) for _ in range(2000)] + [writer.running(rng) for _ in range(2000)]:
        assert 1 <= len(text) <= LONGEST_TEXT
        assert set(text) <= set(VOCAB)
