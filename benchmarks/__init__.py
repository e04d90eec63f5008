"""Benchmarks: all contestants in one run, on the same files and weights; `python -m benchmarks`."""
