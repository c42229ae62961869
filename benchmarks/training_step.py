"""A training step of this project against the paper's formulas written plainly: seconds and peak memory.

    python -m benchmarks.training_step [--batch 32] [--tokens 784] [--dim 384] [--prototypes 5] [--repeats 5]

Each side runs in a process of its own, in turn, pair by pair; the table has the medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from dcn.modularity import cosine_assignment, modularity
from dcn.network import DynamicClusteringNetwork, PrototypeAttention


def plain_attention(self: PrototypeAttention, prototypes: Tensor, context: Tensor) -> Tensor:
    """Equations 1 to 4 with one head, as they are written."""
    query, key, value = self.query(prototypes), self.key(context), self.value(context)
    weights = (query @ key.mT / prototypes.shape[-1] ** 0.5).softmax(dim=-1)
    return self.output(weights @ value)


def plain_modularity(tokens: Tensor, assignment: Tensor) -> Tensor:
    """Equations 7 to 10 as they are written, for a batch."""
    unit = F.normalize(tokens, dim=-1)
    affinity = (unit @ unit.mT).clamp(min=0)
    degrees = affinity.sum(dim=-1)
    total = degrees.sum(dim=-1)[:, None, None]
    positive = assignment.clamp(min=0)
    delta = (positive[:, :, None, :] * positive[:, None, :, :]).max(dim=-1).values
    return ((affinity - degrees[:, :, None] * degrees[:, None, :] / total) * delta).sum(dim=(1, 2)) / total[
        :, 0, 0
    ]


def measure(side: str, batch: int, tokens: int, dim: int, prototypes: int) -> dict[str, float]:
    """Seconds of the second step and peak memory above what was used before, in this process."""
    torch.manual_seed(0)
    x = torch.randn(batch, tokens, dim) + 2 * torch.randn(batch, 1, dim)
    network = DynamicClusteringNetwork(dim, num_prototypes=prototypes)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    loss_function = modularity
    if side == "plain":
        PrototypeAttention.forward = plain_attention  # type: ignore[method-assign]
        loss_function = plain_modularity  # type: ignore[assignment]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = 0.0
    for _ in range(2):  # the first step allocates
        began = time.perf_counter()
        assignment = cosine_assignment(x, network(x))
        loss = -loss_function(x, assignment).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": seconds, "bytes": (peak - before) * unit, "loss": loss.item()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("batch", 32), ("tokens", 784), ("dim", 384), ("prototypes", 5), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--side", choices=["ours", "plain"], help=argparse.SUPPRESS)
    arguments = vars(parser.parse_args())
    side, repeats = arguments.pop("side"), arguments.pop("repeats")
    if side:
        print(json.dumps(measure(side, **arguments)))
        return
    sizes = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        for name, results in runs.items():
            command = [sys.executable, "-m", "benchmarks.training_step", "--side", name, *sizes]
            results.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    print(f"one training step, {arguments}, {torch.get_num_threads()} threads, median of {repeats}")
    for name, results in runs.items():
        seconds, size = (statistics.median(r[key] for r in results) for key in ("seconds", "bytes"))
        loss = results[0]["loss"]
        print(f"  {name:<6} {seconds:7.3f} s   {size / 1e9:6.2f} GB above the tokens   loss {loss:.6f}")
    pairs = list(zip(runs["plain"], runs["ours"], strict=True))
    print(f"  times as fast: {statistics.median(p['seconds'] / o['seconds'] for p, o in pairs):.1f}")
    print(f"  share of the memory: {statistics.median(o['bytes'] / p['bytes'] for p, o in pairs):.2f}")


if __name__ == "__main__":
    main()
