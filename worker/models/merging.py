"""A wide crop's reading from those of its pieces, by docTR's own merging of strings."""

import functools
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from worker.kernels.pieces import CropMap
from worker.models.ctc import Prediction
from worker.models.imports import doctr_side

MODULE = "doctr.models.recognition.utils"

Merge = Callable[[list[str], float, float], str]
"""docTR's `merge_multi_strings`: strings from left to right, how far they overlap, how far the last one."""


def joined(crop_map: CropMap, predictions: Sequence[Prediction], overlap_ratio: float) -> Prediction:
    """Return a crop's (string, confidence); docTR's `remap_preds` for one crop.

    Args:
        crop_map: docTR's map of the crop to its pieces
        overlap_ratio: fraction of a piece that the next one repeats, 0..1
    """
    (place,) = crop_map
    if isinstance(place, int):
        return predictions[place]
    start, end, last_overlap = place
    texts, confidences = zip(*predictions[start:end], strict=True)
    merged = doctrs_merge()(list(texts), overlap_ratio, last_overlap)
    return merged, sum(confidences) / len(confidences)


@functools.cache
def doctrs_merge() -> Merge:
    """Return docTR's function from its file alone: it needs no torch, which docTR's package imports."""
    if MODULE in sys.modules:
        return cast("Merge", sys.modules[MODULE].merge_multi_strings)
    package = importlib.util.find_spec("doctr")
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0], *MODULE.split(".")[1:]).with_suffix(".py") if folders else None
    spec = importlib.util.spec_from_file_location("doctrs_merging", path) if path else None
    try:
        assert spec
        assert spec.loader
        module: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return cast("Merge", module.merge_multi_strings)
    # Another docTR may have it elsewhere, or need its package for it.
    except (AssertionError, ImportError, OSError, AttributeError):
        return cast("Merge", doctr_side(MODULE).merge_multi_strings)
