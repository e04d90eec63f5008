"""Compiled arithmetic that computes docTR's and Pillow's own bits."""
