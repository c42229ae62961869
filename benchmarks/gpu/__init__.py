"""Correctness and speed on a CUDA device; ``python -m benchmarks.gpu`` measures all of it."""
