"""Learning rate, difficulty and averaged weights over a time-limited run."""

import copy
import math

import torch

WARM_UP = 0.02  # share of the run in which the learning rate rises
EMA_DECAY = 0.998  # of the averaged weights: a window of about 500 steps


def learning_rate(progress: float, highest: float) -> float:
    """A short linear rise, then half a cosine down to nearly zero; `progress` runs from 0 to 1."""
    if progress < WARM_UP:
        return highest * (0.05 + 0.95 * progress / WARM_UP)
    rest = (min(progress, 1.0) - WARM_UP) / (1.0 - WARM_UP)
    return highest * (0.5 * (1.0 + math.cos(math.pi * rest))) + 1e-6


def difficulty(progress: float, full_at: float) -> float:
    """0 for clean print at the start, rising linearly to 1 after the share `full_at` of the run."""
    return 1.0 if full_at <= 0.0 else min(1.0, progress / full_at)


class AveragedModel:
    """The exponential moving average of a model's weights and statistics, which is validated and shipped."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = copy.deepcopy(model).eval()

    @torch.no_grad()
    def update(self, model: torch.nn.Module, step: int) -> None:
        """Move towards `model`; the window grows with `step` so that the random start is soon forgotten."""
        decay = min(EMA_DECAY, 1.0 - 1.0 / (step / 4 + 1))
        pairs = zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
        for mean, current in pairs:
            if mean.dtype.is_floating_point:
                mean.mul_(decay).add_(current, alpha=1.0 - decay)
            else:
                mean.copy_(current)
