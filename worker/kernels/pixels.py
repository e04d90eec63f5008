"""Arrays of pixels."""

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""An image, RGB (height, width, 3); a model's input, (3, height, width); or a batch of those."""
