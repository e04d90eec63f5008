"""bfloat16 on CPUs: whether this one has instructions for it."""

from llvmlite import binding

INSTRUCTIONS = ("avx512bf16", "amx-bf16")
"""LLVM's names of them.

OpenVINO claims bfloat16 also for a CPU that has only AVX-512, where it is fifteen times slower than float32.
"""


def has_bfloat16() -> bool:
    """Return whether this CPU computes in bfloat16."""
    features = binding.get_host_cpu_features()
    return any(features.get(name) for name in INSTRUCTIONS)
