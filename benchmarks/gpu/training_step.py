"""One training step: the paper's formulas, this project, and what fewer launches of kernels would bring."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import repeat

import torch
from torch import Tensor

from benchmarks.gpu.loss import plain_modularity
from benchmarks.gpu.measurement import Measured, forget_peak, median_seconds, peak_gigabytes
from benchmarks.gpu.scale import Scale
from benchmarks.training_step import grouped_tokens, plain_attention
from dcn.modularity import cosine_assignment, modularity
from dcn.network import DynamicClusteringNetwork, PrototypeAttention
from dcn.training import Trainer

# What Trainer clips gradients to.
_MAX_GRADIENT_NORM = 0.5
Loss = Callable[[Tensor, Tensor], Tensor]
Network = Callable[[Tensor], Tensor]


def make_network(scale: Scale) -> DynamicClusteringNetwork:
    """The paper's network with random weights, on the device."""
    torch.manual_seed(0)
    return DynamicClusteringNetwork(scale.dim, num_prototypes=scale.prototypes).to(scale.device)


def measure(scale: Scale) -> Iterator[Measured]:
    """Milliseconds of a step and its peak memory; the ratios are to the paper's formulas in float32."""
    tokens = _tokens(scale)
    folded = PrototypeAttention.forward
    try:
        PrototypeAttention.forward = plain_attention  # type: ignore[method-assign]
        plain = _time(scale, _make_step(make_network(scale), tokens, plain_modularity, autocast=False))
        plain_cast = _time(scale, _make_step(make_network(scale), tokens, plain_modularity))
    finally:
        PrototypeAttention.forward = folded  # type: ignore[method-assign]
    yield {"what": "training step, paper's formulas, float32"} | plain
    yield _row("training step, paper's formulas, autocast", plain_cast, plain)
    trainer = Trainer(make_network(scale))
    yield _row("training step, Trainer.step", _time(scale, lambda: trainer.step(tokens, repeat(""))), plain)
    step = _make_step(make_network(scale), tokens, modularity)
    yield _row(
        "training step, network, loss and optimizer without Trainer's records", _time(scale, step), plain
    )
    yield from _parts(scale, tokens)
    if scale.device == "cuda":
        replay = _captured(_make_step(make_network(scale), tokens, modularity))
        yield _row("the same as a captured CUDA graph", _time(scale, replay), plain)


def measure_compiled(scale: Scale) -> Iterator[Measured]:
    """The same step with ``torch.compile`` of the network; compilation is shown, not counted.

    CUDA only: on a CPU the network's products go to oneDNN by an operator that torch.compile refuses.
    """
    if scale.device == "cpu":
        return
    tokens = _tokens(scale)
    eager = _time(scale, _make_step(make_network(scale), tokens, modularity))
    for mode in ("default", "reduce-overhead"):
        network = make_network(scale)
        torch._dynamo.reset()
        began = time.perf_counter()
        step = _make_step(network, tokens, modularity, torch.compile(network, mode=mode))
        step()
        compilation = time.perf_counter() - began
        yield {
            "what": f"training step, torch.compile of the network, mode {mode}",
            **_time(scale, step),
            "ms without": eager["ms"],
            "s of compilation": compilation,
        }


def _tokens(scale: Scale) -> Tensor:
    torch.manual_seed(0)
    return grouped_tokens(scale.batch, scale.tokens).to(scale.device)  # [B, n, d]


def _make_step(
    network: DynamicClusteringNetwork,
    tokens: Tensor,
    loss_function: Loss,
    forward: Network | None = None,
    *,
    autocast: bool = True,
) -> Callable[[], None]:
    """A step as Trainer does it, without a transfer from device to host, so that it can be captured."""
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True, capturable=tokens.is_cuda)
    forward = network if forward is None else forward

    def step() -> None:
        # A captured graph must cast the weights anew in each step.
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast and tokens.is_cuda, cache_enabled=False):
            centers = forward(tokens)  # [B, k, d]
        loss = -loss_function(tokens, cosine_assignment(tokens, centers.float())).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, _MAX_GRADIENT_NORM)
        optimizer.step()

    return step


def _parts(scale: Scale, tokens: Tensor) -> Iterator[Measured]:
    """Where the device spends the step: the loss alone, forward and backward, and the network's forward."""
    network = make_network(scale)
    with torch.no_grad():
        assignment = cosine_assignment(tokens, network(tokens))
    leaf = assignment.detach().requires_grad_()

    def loss() -> None:
        modularity(tokens, leaf).sum().backward()

    @torch.no_grad()
    def forward() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=tokens.is_cuda, cache_enabled=False):
            network(tokens)

    for what, work in (("loss alone, with its gradient", loss), ("network alone, forward", forward)):
        row: Measured = {"what": what, "ms": 1e3 * median_seconds(work, scale.repeats, scale.device)}
        if scale.device == "cuda":
            row["ms captured"] = 1e3 * median_seconds(_captured(work), scale.repeats, scale.device)
        yield row


def _captured(work: Callable[[], None]) -> Callable[[], None]:
    """The same work as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # kernels are compiled and memory is allocated before the capture
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _time(scale: Scale, step: Callable[[], object]) -> dict[str, float]:
    forget_peak(scale.device)
    seconds = median_seconds(step, scale.repeats, scale.device)
    return {"ms": 1e3 * seconds, "GB": peak_gigabytes(scale.device)}


def _row(what: str, found: dict[str, float], plain: dict[str, float]) -> Measured:
    ratios = {"times as fast": plain["ms"] / found["ms"], "of its memory": found["GB"] / plain["GB"]}
    return {"what": what, **found, **ratios}
