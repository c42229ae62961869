"""Requests to the storage, bytes read and written, and files that stay, of every stage, for each shard.

    python -m benchmarks.store_requests [--images 256] [--input-size 224] [--json FILE]

The photographs and the ViT are those of ``benchmarks/growth.py``; with 224 pixels an image has 196 tokens of
192. A request is a call of the store, or a read or a write of tensorstore, which puts reads that lie side by
side together; on an object store each is a GET, PUT, HEAD, LIST or DELETE. To tell what a shard costs from
what a stage costs once, the run is made with a half of the images and with all of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import tensorstore

from benchmarks.growth import draw, settings_of, write_weights
from flows.execution.plan import find_job, stages_up_to
from flows.execution.run import compute_shards, run_stage
from flows.settings import Settings
from storage.stores.local import LocalStore

_CALLS = {
    "read": "GET",
    "write": "PUT",
    "create": "PUT",
    "exists": "HEAD",
    "list": "LIST",
    "delete": "DELETE",
}
_METRICS = {"batch_read": "GET", "write": "PUT", "bytes_read": "read", "bytes_written": "written"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--input-size", type=int, default=224)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root, arguments.images)
        weights = write_weights(root)
        half, whole = (
            _count(settings_of(root, weights, count, arguments.input_size, 5))
            for count in (arguments.images // 2, arguments.images)
        )
    shards = arguments.images // 2 // Settings().shard_images
    for stage, counted in whole.items():
        each = {name: (counted[name] - half[stage][name]) / shards for name in counted}
        once = {name: half[stage][name] - each[name] * shards for name in counted}
        for title, found in ((f"{stage}, each shard", each), (f"{stage}, once", once)):
            print(f"{title:<22}", ", ".join(f"{name} {value:,.0f}" for name, value in found.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps({"half": half, "whole": whole}, indent=1))


def _count(settings: Settings) -> dict[str, Counter[str]]:
    counted: dict[str, Counter[str]] = {}
    for stage in stages_up_to(None, settings):
        found = counted[stage] = Counter()
        before = _tensorstore()
        with ExitStack() as stack:
            # tensorstore reads rows from an object store, so here it has to read them from a folder as well.
            stack.enter_context(patch("storage.arrays.row_source._has_our_layout", lambda _: False))
            for call, request in _CALLS.items():
                counting = _counting(getattr(LocalStore, call), request, found)
                stack.enter_context(patch.object(LocalStore, call, counting))
            run_stage(find_job(settings, stage), stage, compute_shards, lambda _: None)
        found += _tensorstore() - before
        found["files"] = len(find_job(settings, stage).checkpoint(stage).stored_files())
    return counted


def _counting(method: Callable[..., Any], request: str, found: Counter[str]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        found[request] += 1
        if request == "PUT":
            found["written"] += len(arguments[2])
        result = method(*arguments)
        if request == "GET":
            found["read"] += len(result)
        return result

    return called


def _tensorstore() -> Counter[str]:
    prefix = "/tensorstore/kvstore/file/"
    metrics = tensorstore.experimental_collect_matching_metrics(prefix)
    values = {metric["name"].removeprefix(prefix): metric["values"][0].get("value", 0) for metric in metrics}
    counted: Counter[str] = Counter()
    for name, request in _METRICS.items():
        counted[request] += values.get(name, 0)
    return counted


if __name__ == "__main__":
    main()
