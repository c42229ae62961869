"""The kernel for CUDA, run by Triton's interpreter on the CPU, against the path for any device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

# In a process of its own: whether Triton compiles or interprets is decided when the kernel is defined.
CODE = """
import torch
import torch.nn.functional as F
from dcn import modularity as module
from dcn.kernels import modularity_triton as module_of_kernels
from dcn.kernels.modularity_triton import cluster_sums_triton

module_of_kernels._PAIRS = 3000  # two images of 31 tokens at once, and one of 65
for n, k, d, resolution in ((1, 1, 3, 1.0), (31, 2, 33, 0.5), (32, 8, 16, 1.0), (65, 5, 70, 2.0), (150, 3, 5, 1.0)):
    generator = torch.Generator().manual_seed(n)
    tokens = torch.randn(2, n, d, generator=generator)
    tokens[1, -1] = 0
    positive = torch.rand(2, k, n, generator=generator)
    positive[:, -1] = positive[:, 0]  # ties
    expected = module.cluster_sums(tokens, positive.mT, resolution).mT
    sums = cluster_sums_triton(F.normalize(tokens, dim=-1), positive, resolution)
    torch.testing.assert_close(sums, expected, atol=1e-6, rtol=1e-4)
assert not cluster_sums_triton(torch.zeros(1, 5, 3), torch.rand(1, 2, 5), 1.0).any()

tokens = torch.randn(2, 9, 4, generator=generator)
tokens[0, 3, 1] = torch.nan
sums = cluster_sums_triton(F.normalize(tokens, dim=-1), torch.rand(2, 3, 9), 1.0)
assert sums.isnan().any(dim=(1, 2)).tolist() == [True, False]
"""


COMPILED = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from dcn.kernels import modularity_triton as module

fixed = {"block_rows": 16, "block_columns": 128, "clusters": 5, "padded": 8}
types = {"n": "i32", "resolution": "fp32"} | dict.fromkeys(fixed, "constexpr")
signature = {name: types.get(name, "*fp32") for name in module._cluster_sums.arg_names}
for capability in (75, 90):
    target = GPUTarget("cuda", capability, 32)
    assert "cubin" in compile(ASTSource(module._cluster_sums, signature, fixed), target=target).asm
"""


def test_the_kernel_equals_the_plain_path() -> None:
    _run(CODE, {"TRITON_INTERPRET": "1"})


def test_the_kernel_compiles_for_gpus(tmp_path: Path) -> None:
    """Which needs none."""
    _run(COMPILED, {"TRITON_CACHE_DIR": str(tmp_path)})


def _run(code: str, environment: dict[str, str]) -> None:
    environment = os.environ | environment | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
