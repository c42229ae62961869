"""Compiled arithmetic of training and loss. A test holds every kernel to plain PyTorch.

    products          dense products of ``Linear`` and of the affinity, in float32 on a CPU
    frozen_layers     linear layers of the backbone, by the same products
    attention_cpu     attention of the prototypes over the tokens (equations 1 to 4), forward and backward
    modularity_cpu    sums over all pairs of tokens of the modularity loss (equations 7 to 10)
    modularity_triton the same for CUDA
    cuda_graph        launches of the small kernels of a training step, recorded once and repeated by one call
    cpu_threads       threads of the two compiled CPU kernels

:mod:`dcn.network` and :mod:`dcn.modularity` choose the kernel by device and dtype; callers of these two
choose nothing.
"""
