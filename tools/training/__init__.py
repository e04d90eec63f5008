"""The recipe of the bundled checkpoints: synthetic images, docTR's models and losses."""
