"""One training step: the paper's formulas, this project, and its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat

import torch
from torch import Tensor

from benchmarks.gpu.loss import plain_modularity
from benchmarks.gpu.measurement import Measured, forget_peak, median_seconds, peak_gigabytes
from benchmarks.gpu.scale import Scale
from benchmarks.training_step import grouped_tokens, plain_attention
from dcn.kernels.cuda_graph import Captured
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
    step = _make_step(make_network(scale), tokens, modularity)
    yield _row("training step, our loss and network, kernels launched one by one", _time(scale, step), plain)
    trainer = Trainer(make_network(scale))
    yield _row("training step, Trainer.step", _time(scale, lambda: trainer.step(tokens, repeat(""))), plain)
    yield _compare_gradients(scale, tokens)
    yield _compare_resumed(scale, tokens)
    yield from _parts(scale, tokens)


def _compare_gradients(scale: Scale, tokens: Tensor) -> Measured:
    """The clipped gradient of the first step by Trainer, against the same launched kernel by kernel."""
    networks = [make_network(scale) for _ in range(3)]
    trainer = Trainer(networks[0])
    trainer.step(tokens, repeat(""))
    for network in networks[1:]:
        _make_step(network, tokens, modularity)()
    ours, others, again = (
        torch.cat(
            [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
        )
        for network in networks
    )
    return {
        "what": "gradient by Trainer.step against the same kernels launched one by one",
        "relative difference": float((ours - others).norm() / others.norm()),
        "of two runs one by one": float((again - others).norm() / others.norm()),
    }


def _compare_resumed(scale: Scale, tokens: Tensor) -> Measured:
    """The weights after six steps, and after three and three by a Trainer that was restored."""
    straight, stopped = Trainer(make_network(scale)), Trainer(make_network(scale))
    for _ in range(6):
        straight.step(tokens, repeat(""))
    for _ in range(3):
        stopped.step(tokens, repeat(""))
    resumed = Trainer(make_network(scale))
    resumed.restore(stopped.state(), stopped.iteration)
    for _ in range(3):
        resumed.step(tokens, repeat(""))
    pairs = zip(straight.state().values(), resumed.state().values(), strict=True)
    return {
        "what": "state of a resumed Trainer against one that was not stopped, six steps",
        "largest difference": max(float((one - other).abs().max()) for one, other in pairs),
    }


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
    """A step as Trainer does it, without its records."""
    parameters = list(network.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    forward = network if forward is None else forward

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast and tokens.is_cuda):
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

    def loss(assignment: Tensor) -> Tensor:
        leaf = assignment.detach().requires_grad_()
        return torch.autograd.grad(modularity(tokens, leaf).sum(), leaf)[0]

    @torch.no_grad()
    def forward(tokens: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=tokens.is_cuda):
            centers: Tensor = network(tokens)
        return centers

    parts = (("loss alone, with its gradient", loss, assignment), ("network alone, forward", forward, tokens))
    for what, work, argument in parts:
        seconds, captured = (
            median_seconds(partial(function, argument), scale.repeats, scale.device)
            for function in (work, Captured(work))
        )
        yield {"what": what, "ms": 1e3 * seconds, "ms captured": 1e3 * captured}


def _time(scale: Scale, step: Callable[[], object]) -> dict[str, float]:
    forget_peak(scale.device)
    seconds = median_seconds(step, scale.repeats, scale.device)
    return {"ms": 1e3 * seconds, "GB": peak_gigabytes(scale.device)}


def _row(what: str, found: dict[str, float], plain: dict[str, float]) -> Measured:
    ratios = {"times as fast": plain["ms"] / found["ms"], "of its memory": found["GB"] / plain["GB"]}
    return {"what": what, **found, **ratios}
