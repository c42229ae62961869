"""Correctness and speed on a CUDA device in one table: loss, training step, training, backbone, stages.

    python -m benchmarks.gpu [--json FILE]

The script takes under ten minutes. It prints device and versions first, and a row as soon as the row is
measured. A part that fails is a row with its error, and the other parts go on. Weights are random and tokens
are synthetic: they change no speed. Times are medians of CUDA events, after a warm-up that is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from torch import Tensor

from benchmarks.training_step import grouped_tokens, plain_attention, plain_modularity
from dcn.backbone import Backbone
from dcn.modularity import cosine_assignment, modularity
from dcn.network import DynamicClusteringNetwork, PrototypeAttention
from dcn.training import Trainer

BATCH, TOKENS, DIM, PROTOTYPES = 32, 784, 384, 5
ITERATIONS = 2500
VOC_PHOTOGRAPHS = 12_031
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--photographs", type=int, default=1500, help="number of photographs of the stages")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("there is no CUDA device here; python -m benchmarks measures the CPU")
    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    print(f"{torch.cuda.get_device_name()}, compute capability {capability}, PyTorch {torch.__version__}, "
          f"CUDA {torch.version.cuda}, timm {timm.__version__}, Python {sys.version.split()[0]}")  # fmt: skip
    rows: list[Row] = []
    parts: list[Callable[[], Iterator[Row]]] = [
        correctness,
        training_steps,
        whole_training,
        backbones,
        lambda: stages(arguments.photographs),
    ]
    for part in parts:
        try:
            for row in part():
                rows.append(row)
                print("  ".join(f"{name} {_shown(value)}" for name, value in row.items()), flush=True)
        except Exception as error:  # the other parts go on
            rows.append({"what": "error", "error": str(error), "traceback": traceback.format_exc()})
            print(f"error: {error}", flush=True)
            traceback.print_exc()
        torch.cuda.empty_cache()
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"device": torch.cuda.get_device_name(), "rows": rows}, indent=1)
        )


def correctness() -> Iterator[Row]:
    """The loss on the device against the paper's formulas, in float32 and in float64."""
    for batch, tokens in ((8, TOKENS), (2, 3136)):
        torch.manual_seed(0)
        x = grouped_tokens(batch, tokens).cuda()
        assignment = cosine_assignment(x, x[:, :: tokens // PROTOTYPES][:, :PROTOTYPES])
        exact, exact_gradient = _value_and_gradient(plain_modularity, x.double(), assignment.double())
        plain, plain_gradient = _value_and_gradient(plain_modularity, x, assignment)
        ours, gradient = _value_and_gradient(modularity, x, assignment)
        yield {
            "what": f"loss, {batch} x {tokens}",
            "value, relative error": _relative(ours, exact),
            "of plain float32": _relative(plain, exact),
            "gradient, relative error": _relative(gradient, exact_gradient),
            "gradient of plain float32": _relative(plain_gradient, exact_gradient),
        }


def training_steps() -> Iterator[Row]:
    """One step by the paper's formulas, by the trainer, and by a captured CUDA graph."""
    torch.manual_seed(0)
    x = grouped_tokens(BATCH, TOKENS).cuda()
    folded = PrototypeAttention.forward
    try:
        PrototypeAttention.forward = plain_attention  # type: ignore[method-assign]
        plain_seconds, memory = _step_seconds(x, plain_modularity, autocast=False)
        plain_cast, _ = _step_seconds(x, plain_modularity, autocast=True)
    finally:
        PrototypeAttention.forward = folded  # type: ignore[method-assign]
    yield {"what": "training step, paper's formulas", "ms": plain_seconds * 1e3, "GB": memory}
    yield {"what": "training step, paper's formulas, autocast", "ms": plain_cast * 1e3}
    seconds, memory = _step_seconds(x, modularity, autocast=True)
    yield _against("training step, network and loss", seconds, plain_seconds) | {"GB": memory}
    trainer = Trainer(_network(), learning_rate=1e-4, iterations=ITERATIONS)
    names = [str(i) for i in range(BATCH)]
    seconds = _median_seconds(lambda: trainer.step(x, names), 30)
    yield _against("training step, Trainer.step", seconds, plain_seconds)
    yield _against("training step, CUDA graph", _captured_step_seconds(x), plain_seconds)


def whole_training() -> Iterator[Row]:
    """The paper's 2,500 iterations of 32 by the trainer of the product; tokens come from host memory."""
    torch.manual_seed(0)
    host = grouped_tokens(8 * BATCH, TOKENS).half().pin_memory()
    trainer = Trainer(_network(), iterations=ITERATIONS)
    names = [str(i) for i in range(BATCH)]
    generator = np.random.default_rng(0)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(ITERATIONS):
        rows = torch.from_numpy(generator.integers(0, len(host), BATCH))
        trainer.step(host[rows].pin_memory().cuda(non_blocking=True).float(), names)
    torch.cuda.synchronize()
    yield {"what": f"{ITERATIONS} iterations of {BATCH}", "s": time.perf_counter() - began, "goal s": 60}


def backbones() -> Iterator[Row]:
    """ViT-S/8 at 224: images per second of timm's own forward pass and of the two calls of this project."""
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = timm.create_model("vit_small_patch8_224.dino", num_classes=0, dynamic_img_size=True)
        backbone = Backbone(model, "cuda", precision)  # type: ignore[arg-type]
        for batch in (64, 256):
            inputs = torch.randn(batch, 3, 224, 224, device="cuda", dtype=next(model.parameters()).dtype)
            with torch.inference_mode():
                eager = _median_seconds(partial(cast(Any, model).forward_features, inputs), 5)
            torch.cuda.reset_peak_memory_stats()
            extract = _median_seconds(partial(backbone.features, inputs), 5)
            embed = _median_seconds(partial(backbone.embed, inputs), 5)
            yield {
                "what": f"ViT-S/8, {precision}, batch {batch}",
                "images/s timm": batch / eager,
                "features": batch / extract,
                "embed": batch / embed,
                "share of timm": eager / extract,
                "GB": torch.cuda.max_memory_allocated() / 1e9,
            }


def stages(count: int) -> Iterator[Row]:
    """The stages ``extract`` and ``embed`` end to end with decoding, and decoding alone."""
    from benchmarks.photographs import make_settings, run
    from flows.inputs.datasets import open_dataset, read_squashed
    from flows.inputs.image_index import open_index
    from flows.inputs.parallel import in_threads

    with tempfile.TemporaryDirectory() as folder:
        for precision in ("float32", "bfloat16"):
            drawn = make_settings(Path(folder), count, precision)
            values = drawn.model_dump(mode="json")
            values["backbone"] |= {"device": "cuda", "batch_size": 128}
            values["segment"]["segmenter"] = {"name": "kmeans", "num_regions": 3}
            settings = type(drawn).model_validate(values)
            index = run(settings, "index")
            dataset, images = open_dataset(settings.dataset), list(open_index(index).images())
            began = time.perf_counter()
            for _ in in_threads(partial(read_squashed, dataset, 224), images):
                pass
            decoding = count / (time.perf_counter() - began)
            rates = {}
            for stage in ("extract", "segment", "embed"):
                began = time.perf_counter()
                run(settings, stage)
                rates[stage] = count / (time.perf_counter() - began)
            yield {
                "what": f"stages, {precision}, {count} photographs, photographs/s",
                "decoding alone": decoding,
                **rates,
                "s of VOC's extract": VOC_PHOTOGRAPHS / rates["extract"],
            }


def _network() -> DynamicClusteringNetwork:
    torch.manual_seed(0)
    return DynamicClusteringNetwork(DIM, num_prototypes=PROTOTYPES).cuda()


def _step_seconds(x: Tensor, loss_function: Callable[..., Tensor], *, autocast: bool) -> tuple[float, float]:
    """Median seconds of a step and the peak of the memory in GB."""
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            centers = network(x)
        loss = -loss_function(x, cosine_assignment(x, centers.float())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    torch.cuda.reset_peak_memory_stats()
    return _median_seconds(step, 10), torch.cuda.max_memory_allocated() / 1e9


def _captured_step_seconds(x: Tensor) -> float:
    """Median seconds of a step that was captured once and is replayed."""
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, capturable=True)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            centers = network(x)
        loss = -modularity(x, cosine_assignment(x, centers.float())).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return _median_seconds(graph.replay, 30)


def _median_seconds(work: Callable[[], object], repeats: int) -> float:
    for _ in range(3):
        work()
    seconds = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return float(statistics.median(seconds))


def _value_and_gradient(
    function: Callable[..., Tensor], x: Tensor, assignment: Tensor
) -> tuple[Tensor, Tensor]:
    leaf = assignment.clone().requires_grad_()
    value = function(x, leaf)
    (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), gradient


def _relative(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())


def _against(what: str, seconds: float, plain: float) -> Row:
    return {"what": what, "ms": seconds * 1e3, "times as fast as plain": plain / seconds}


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
