"""The training run of the stage ``train``: batches, checks on held-out images, and what is kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dcn.device import choose_device
from dcn.early_stopping import stands_still
from dcn.errors import NonFiniteTrainingError
from dcn.model_description import ModelDescription
from dcn.model_file import model_bytes
from dcn.network import DynamicClusteringNetwork
from dcn.prototypes import start_from_kmeans
from dcn.training import StepRecord, Trainer, held_out_modularity
from flows import progress
from flows.errors import name_parameters
from flows.inputs.image_index import open_index
from flows.inputs.summaries import TrainSummary
from flows.inputs.token_sample import sample_tokens
from flows.printable import printable_line
from flows.settings import TrainSettings
from flows.stage import Job, Warn
from flows.stages.training.batches import Batches, hold_out
from flows.stages.training.state import SaveClock, TrainingState
from storage import Checkpoint

# Consecutive collapsed iterations that count as a collapse. In a single batch it may happen by chance.
_COLLAPSE_LENGTH = 10
# Settings that are arguments of the network.
_NETWORK = {"num_prototypes", "num_stages", "heads", "self_update", "norm", "start", "whitened_dims"}
# The training state, a file of the checkpoint until the stage is complete.
_STATE = "state.safetensors"


class TrainingRun:
    """One training run: its trainer, and its results so far.

    Args:
        job: the run.
        token_width: width ``d`` of the cached tokens.
        warn: receives warnings.

    """

    def __init__(self, job: Job, token_width: int, warn: Warn) -> None:
        self._settings: TrainSettings = job.settings.train
        self._checkpoint: Checkpoint = job.checkpoint("train")
        self._device = choose_device(job.settings.backbone.device)
        self._tokens = job.checkpoint("extract").array("tokens")
        self._warn = warn
        self._backbone = job.settings.backbone.model_dump(
            mode="json",
            include={"name", "weights", "input_size", "token_layer", "attention_block", "precision"},
        ) | {"flip": job.settings.backbone.flip or None}
        self._index = open_index(job)
        present = job.checkpoint("extract").array("present").rows(0, len(self._index))
        rows = self._index.split_rows(self._index.summary.train_split)
        settings = self._settings
        self._rows, self._held_out = hold_out(rows[present[rows]], settings.held_out, settings.seed)
        self._batches = Batches([self._tokens], settings.batch_size, settings.seed, self._device)

        self._network_arguments = network_arguments(settings, token_width)
        torch.manual_seed(settings.seed)
        network = DynamicClusteringNetwork(**self._network_arguments)
        if not self._checkpoint.has_file(_STATE):
            self._start(network)
        self._trainer = Trainer(
            network.to(self._device),
            learning_rate=settings.learning_rate,
            schedule=settings.schedule,
            iterations=settings.iterations,
            weight_decay=settings.weight_decay,
            max_gradient_norm=settings.max_gradient_norm,
            loss=settings.loss,
        )
        self._state = TrainingState()
        if self._checkpoint.has_file(_STATE):
            self._state = TrainingState.from_bytes(self._checkpoint.read_file(_STATE), self._trainer)
        self._clock = SaveClock(settings.save_seconds)

    def _start(self, network: DynamicClusteringNetwork) -> None:
        """Compute what a new network takes from the training images: the whitening, and its prototypes."""
        from_kmeans = self._settings.prototypes == "kmeans"
        if network.whitening is None and not from_kmeans:
            return
        sample = self._sample_tokens()
        if network.whitening is not None:
            network.whitening.fit(sample)
        if from_kmeans:
            start_from_kmeans(network, network.project(sample), self._settings.seed)

    def to_the_end(self) -> TrainSummary:
        """Run the missing iterations, write the model, and return the summary."""
        settings, trainer = self._settings, self._trainer
        progress.start("train", settings.iterations, trainer.iteration)
        for batch, (tokens,) in self._batches.random(self._rows, trainer.iteration, settings.iterations):
            with name_parameters("setting train.{}"):
                record = trainer.step(tokens, map(self._image_name, batch))
            self._state.curve.append(record)
            self._report(record)
            last = trainer.iteration == settings.iterations
            if trainer.iteration % settings.check_every == 0 or last:
                self._check_held_out()
            if self._stands_still():
                break
            if self._clock.is_due() and not last:
                self._save()
        summary = self._summary()
        if end := summary.describe_end(settings.iterations):
            progress.end_early("train", end)
        description = ModelDescription(network=self._network_arguments, backbone=self._backbone)
        self._checkpoint.write_file("dcn.safetensors", model_bytes(self._state.best, description))
        curve = {"steps": [asdict(record) for record in self._state.curve], "held_out": self._state.checks}
        self._checkpoint.write_file("curve.json", json.dumps(curve).encode())
        self._checkpoint.delete_file(_STATE)
        return summary

    def _stands_still(self) -> bool:
        """Say whether training ends here. Only checks decide, so a resumed run ends at the same one."""
        patience = self._settings.patience
        return patience is not None and stands_still([value for _, value in self._state.checks], patience)

    def _summary(self) -> TrainSummary:
        curve = self._state.curve
        best_iteration, best = max(self._state.checks, key=lambda check: check[1])
        return TrainSummary(
            images=len(self._rows),
            held_out_images=len(self._held_out),
            iterations=len(curve),
            held_out_modularity=best,
            best_iteration=best_iteration,
            regions_per_image=curve[-1].regions,
            prototypes_in_use=curve[-1].prototypes_in_use,
            collapsed_iterations=sum(record.collapsed for record in curve),
            largest_gradient_norm=max(record.gradient_norm for record in curve),
            ended="held-out modularity stood still" if self._stands_still() else "all iterations are done",
        )

    def _image_name(self, row: int) -> str:
        return printable_line(self._index.image(row).item.id)

    def _sample_tokens(self) -> Tensor:
        """Draw random tokens ``[m, d]`` of random training images."""
        rows, tokens = sample_tokens(self._tokens, self._rows, self._settings.seed)  # [r], [r, t, d]
        wrong = rows[~np.isfinite(tokens).all(axis=(1, 2))].tolist()
        if wrong:
            names = ", ".join(map(self._image_name, wrong[:5]))
            raise NonFiniteTrainingError(f"the tokens of {names} are not finite; extract them again")
        return torch.from_numpy(tokens).flatten(0, 1)

    def _check_held_out(self) -> None:
        values = []
        for _, (tokens,) in self._batches.in_order(self._held_out):
            values.append(held_out_modularity(self._trainer.network, tokens, self._settings.loss))
        value = torch.cat(values).mean().item()
        if not self._state.checks or value > max(check[1] for check in self._state.checks):
            weights = self._trainer.network.state_dict()
            self._state.best = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
        self._state.checks.append((self._trainer.iteration, value))

    def _report(self, record: StepRecord) -> None:
        note = (
            f"loss {-record.modularity:.4f}, {record.regions:.1f} regions per image, "
            f"{record.prototypes_in_use} prototypes in use"
        )
        progress.advance("train", 1, note)
        recent = self._state.curve[-_COLLAPSE_LENGTH:]
        before = self._state.curve[-_COLLAPSE_LENGTH - 1 : -_COLLAPSE_LENGTH]
        begins = len(recent) == _COLLAPSE_LENGTH and all(r.collapsed for r in recent)
        if begins and not (before and before[0].collapsed):
            self._warn(
                f"training collapsed at iteration {recent[0].iteration}: the centers are the same for every "
                f"image (variance {record.center_variance:.4f}). It may recover; "
                f"docs/how-it-works/training.md says what prevents it"
            )

    def _save(self) -> None:
        with self._clock.saving():
            self._checkpoint.write_file(_STATE, self._state.to_bytes(self._trainer))


def network_arguments(settings: TrainSettings, token_width: int) -> dict[str, Any]:
    """Select the arguments of :class:`dcn.network.DynamicClusteringNetwork` from the settings."""
    return {"dim": token_width, **settings.model_dump(include=_NETWORK, exclude_none=True)}
