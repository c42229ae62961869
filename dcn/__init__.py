"""The Dynamic Clustering Network: backbone, loss, training, regions, evaluation. Knows nothing of stages."""

import os

# GNU's OpenMP, which PyTorch computes with, lets its threads spin for a while after each loop, on the cores
# that our compiled kernels (dcn/kernels/) want next: a fifth of the time of a training step. It reads this
# when PyTorch is imported, so the packages that import PyTorch import this one first.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
