"""A training step of this project against the paper's formulas written plainly: seconds, memory, gradients.

    python -m benchmarks.training_step [--pairs 5] [--json FILE]

With 784 tokens an image (224 pixels at patch 8) and with 3,136 (448 pixels), of 384 numbers; 5 prototypes.
The tokens fall into six groups an image, as those of photographs do. Each side runs in a process of its own,
in turn, pair by pair. The plain formulas hold several ``[B, n, n, k]`` tensors, 0.2 GB an image each with
3,136 tokens, so there the ratio is of a batch of 4; the memory is that of this project with 32.

Two gradients are compared: that of the loss for one assignment in float32, and that of the whole network in
float64. In float32 a pair of which two clusters have almost the same share goes to either, by the last bit,
in any two ways to compute the network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peak_memory import peak_memory
from benchmarks.row import Row, add_json_option, show_rows
from dcn.modularity import cosine_assignment, modularity
from dcn.network import DynamicClusteringNetwork, PrototypeAttention


def plain_attention(self: PrototypeAttention, prototypes: Tensor, context: Tensor) -> Tensor:
    """Equations 1 to 4 with one head, as they are written."""
    query, key, value = self.query(prototypes), self.key(context), self.value(context)
    weights = (query @ key.mT / prototypes.shape[-1] ** 0.5).softmax(dim=-1)
    output: Tensor = self.output(weights @ value)
    return output


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


DIM, PROTOTYPES, STEPS = 384, 5, 3
BATCH, BATCH_BOTH_AFFORD = 32, 4


def grouped_tokens(batch: int, tokens: int) -> Tensor:
    """``[B, n, d]``: noise around one of six directions of the image."""
    groups, owner = torch.randn(batch, 6, DIM), torch.randint(0, 6, (batch, tokens, 1))
    return groups.gather(1, owner.expand(-1, -1, DIM)) + 0.7 * torch.randn(batch, tokens, DIM)


def measure(side: str, batch: int, tokens: int) -> dict[str, float]:
    """Median seconds of a step after the first, which allocates and compiles, and the peak memory.

    ``bytes`` are above what was used before the first step, ``process`` are all.
    """
    torch.manual_seed(0)
    x = grouped_tokens(batch, tokens)
    network = DynamicClusteringNetwork(DIM, num_prototypes=PROTOTYPES)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    loss_function = modularity
    if side == "plain":
        PrototypeAttention.forward = plain_attention  # type: ignore[method-assign]
        loss_function = plain_modularity  # type: ignore[assignment]
    before = peak_memory()
    seconds = []
    for _ in range(1 + STEPS):
        began = time.perf_counter()
        assignment = cosine_assignment(x, network(x))
        loss = -loss_function(x, assignment).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    peak = peak_memory()
    return {"seconds": statistics.median(seconds[1:]), "bytes": peak - before, "process": peak}


def in_process(side: str, batch: int, tokens: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.training_step", "--side", side]
    command += ["--batch", str(batch), "--tokens", str(tokens)]
    result: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return result


def compare(batch: int, tokens: int, pairs: int) -> dict[str, float]:
    """Medians over pairs: how many times as fast, share of the memory, and what they are made of."""
    runs = [(in_process("ours", batch, tokens), in_process("plain", batch, tokens)) for _ in range(pairs)]
    return {
        "times as fast": statistics.median(p["seconds"] / o["seconds"] for o, p in runs),
        "share of the memory": statistics.median(o["bytes"] / p["bytes"] for o, p in runs),
        "s": statistics.median(o["seconds"] for o, _ in runs),
        "s plain": statistics.median(p["seconds"] for _, p in runs),
        "GB": statistics.median(o["bytes"] for o, _ in runs) / 1e9,
        "GB plain": statistics.median(p["bytes"] for _, p in runs) / 1e9,
    }


def gradient_differences() -> tuple[float, float]:
    """Relative: of the loss for one assignment in float32, and of the whole network in float64."""
    torch.manual_seed(0)
    tokens = grouped_tokens(2, 784)
    assignment = cosine_assignment(tokens, tokens[:, :: 784 // PROTOTYPES])
    of_loss = []
    for function in (modularity, plain_modularity):
        leaf = assignment.clone().requires_grad_()
        function(tokens, leaf).sum().backward()
        assert leaf.grad is not None
        of_loss.append(leaf.grad)
    network = DynamicClusteringNetwork(DIM, num_prototypes=PROTOTYPES).double()
    exact, folded = tokens.double(), PrototypeAttention.forward
    of_network = []
    for function, forward in ((modularity, folded), (plain_modularity, plain_attention)):
        PrototypeAttention.forward = forward  # type: ignore[method-assign]
        network.zero_grad()
        function(exact, cosine_assignment(exact, network(exact))).sum().backward()
        of_network.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    PrototypeAttention.forward = folded  # type: ignore[method-assign]
    loss, whole = (((a - b).norm() / b.norm()).item() for a, b in (of_loss, of_network))
    return loss, whole


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    for name in ("--side", "--batch", "--tokens"):  # of one process
        parser.add_argument(name, type=str if name == "--side" else int, help=argparse.SUPPRESS)
    add_json_option(parser)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments.batch, arguments.tokens)))
        return
    loss, whole = gradient_differences()
    usual = compare(BATCH, 784, arguments.pairs)
    large = compare(BATCH_BOTH_AFFORD, 3136, arguments.pairs)
    alone = in_process("ours", BATCH, 3136)
    step, plain = "a training step, batch {} of {:,} tokens", "the paper's formulas in PyTorch"
    show_rows(
        [
            Row(step.format(BATCH, 784), plain, usual["times as fast"], "times as fast", 15, details=usual),
            Row("memory of that step", plain, usual["share of the memory"], "of it", 0.25, at_least=False),
            Row("its gradient", plain, max(loss, whole), "relative difference", 1e-5, at_least=False,
                details={"loss, float32": loss, "network, float64": whole}),
            Row(step.format(BATCH_BOTH_AFFORD, 3136), plain, large["times as fast"], "times as fast", 1,
                details=large),
            Row(step.format(BATCH, 3136), "", alone["process"] / 1e9, "GB", 8, at_least=False,
                details={"s": alone["seconds"]}),
        ],
        arguments.json,
    )  # fmt: skip


if __name__ == "__main__":
    main()
