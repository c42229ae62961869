"""Does training collapse with the loss of the paper? Several seeds, by a reliable and by the literal recipe.

    python -m benchmarks.training_stability --root FOLDER [--workspace DIR] [--seeds 5]

FOLDER holds VOCdevkit/VOC2012, as for the configuration voc2012-mini, whose budget both recipes get. Share is
the share of attainable modularity on the evaluated split, which neither trains nor selects weights; "best"
and "last" are the modularity of held-out training images at the selected iteration and at the end.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from benchmarks.stages import run_up_to
from dcn.evaluation.attainable import attainable_modularity
from dcn.model_file import read_model
from dcn.training import held_out_modularity
from flows.inputs.image_index import open_index
from flows.inputs.summaries import TrainSummary
from flows.settings.loading import load_settings
from flows.stage import Job

# What each recipe sets of the section train; the rest, and so the budget, is that of the configuration.
RECIPES = {
    name: load_settings(name).train.model_dump(mode="json", exclude_unset=True)
    for name in ("voc2012", "voc2012-literal")
}
BATCH = 16


def evaluated_tokens(job: Job) -> list[torch.Tensor]:
    """Tokens ``[B, n, d]`` of the evaluated split, batch by batch."""
    index = open_index(job)
    rows = torch.from_numpy(index.split_rows(index.summary.evaluate_split))
    reader = job.checkpoint("extract").array("tokens")
    return [torch.from_numpy(reader.read_ahead(part.numpy()).result()).float() for part in rows.split(BATCH)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, default=Path("workspace"))
    parser.add_argument("--config", default="voc2012-mini")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    arguments = parser.parse_args()
    common = [f"dataset.root={arguments.root}"]
    if arguments.iterations:
        common.append(f"train.iterations={arguments.iterations}")
    attainable = None
    print(
        "recipe          seed  share   best    last    collapsed iterations  largest gradient norm",
        flush=True,
    )
    for recipe in arguments.recipes:
        for seed in range(arguments.seeds):
            changes = {**RECIPES[recipe], "seed": seed}
            overrides = [*common, *(f"train.{name}={json.dumps(value)}" for name, value in changes.items())]
            job = run_up_to("train", arguments.config, overrides, arguments.workspace)
            checkpoint, settings = job.checkpoint("train"), job.settings.train
            batches, loss = evaluated_tokens(job), settings.loss
            if attainable is None:
                k = settings.num_prototypes
                attainable = torch.cat([attainable_modularity(b, k, loss) for b in batches]).mean().item()
            network = read_model(checkpoint.read_file("dcn.safetensors"), "dcn.safetensors").network
            reached = torch.cat([held_out_modularity(network, b, loss) for b in batches])
            summary = TrainSummary.of(checkpoint.require())
            last = json.loads(checkpoint.read_file("curve.json"))["held_out"][-1][1]
            print(
                f"{recipe:<15} {seed:<4}  {reached.mean().item() / attainable:.3f}   "
                f"{summary.held_out_modularity:.4f}  {last:.4f}  {summary.collapsed_iterations:<20}  "
                f"{summary.largest_gradient_norm:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
