"""Errors of training and evaluation runs; each message says what to do."""


class TrainingError(Exception):
    """Root of the recipe's errors."""


class MissingSourceError(TrainingError):
    """A font or a word list that the synthetic images need is not on this machine."""


class UnknownArchitectureError(TrainingError):
    """docTR has no model of that name."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class StoreError(TrainingError):
    """A model store has a card without its weights, or weights that their card does not describe."""
