"""The rounds of ``distill``: each trains a new head, and keeps what agreed best on held-out images."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import torch

from dcn.class_head import ClassHead
from dcn.device import choose_device
from dcn.distillation import HeadTrainer, count_agreement
from dcn.early_stopping import stands_still
from flows import progress
from flows.errors import EmptyDatasetError, name_parameters
from flows.inputs.class_head import HEAD, head_bytes, new_head_description, read_head
from flows.inputs.image_index import evenly_spread, open_index
from flows.inputs.region_counts import region_counts
from flows.inputs.summaries import DistillSummary, ExtractSummary
from flows.inputs.tokens.token_layers import open_head_layers
from flows.stage import Job, Warn
from flows.stages.distill.region_classes import RegionClasses, find_region_classes
from flows.stages.distill.state import RoundState
from flows.stages.distill.targets import HeadTargets, RegionTargets, Targets
from flows.stages.training.batches import Batches, hold_out
from flows.stages.training.state import SaveClock

_STATE = "state.safetensors"
_CLASSES, _CLUSTERS = "region_classes.npy", "clusters.npy"
_AGREEMENT = "agreement.json"
_HELD_OUT = 0.1
# Photographs of each cluster in which it is looked for after the last round.
_SEARCHED = 8
# Another seed for each round.
_MOST_ROUNDS = 10
# Number of finished iterations and agreement at each check of a round.
Checks = list[tuple[int, float]]


class DistillRun:
    """The distillation of one run.

    Args:
        job: the run.
        warn: receives warnings.

    """

    def __init__(self, job: Job, warn: Warn) -> None:
        self._settings = settings = job.settings.distill
        self._checkpoint = job.checkpoint("distill")
        self._device = choose_device(job.settings.backbone.device)
        self._warn = warn
        self._width = ExtractSummary.read(job).token_width
        self._split = open_index(job).summary.train_split
        rows = _rows_to_learn_from(job)
        self._num_clusters, self._classes = self._region_classes(job, rows)
        self._description = new_head_description(job.settings, self._num_clusters)
        self._rows, self._held_out = hold_out(rows, _HELD_OUT, settings.seed)
        arrays = [job.checkpoint("segment").array("assignment"), *open_head_layers(job)]
        self._batches = Batches(arrays, settings.batch_size, settings.seed, self._device)
        self._clock = SaveClock(job.settings.train.save_seconds)

    def to_the_end(self) -> DistillSummary:
        """Run the missing rounds, write the head, and return the summary."""
        settings, taught = self._settings, self._taught()
        rounds = self._finished_rounds()
        progress.start("distill", settings.rounds * settings.iterations, len(rounds) * settings.iterations)
        for number in range(len(rounds), settings.rounds):
            rounds.append(self._round(number, self._targets(number)))
            self._checkpoint.write_file(_AGREEMENT, json.dumps(rounds).encode())
        last = _file_of_round(settings.rounds - 1)
        if self._checkpoint.has_file(last):
            self._checkpoint.write_file(HEAD, self._checkpoint.read_file(last))
        summary = self._summary(rounds, taught)
        for name in (_STATE, _CLASSES, _CLUSTERS, *map(_file_of_round, range(settings.rounds))):
            self._checkpoint.delete_file(name)
        return summary

    def _finished_rounds(self) -> list[Checks]:
        """Read the checks of the rounds before an interruption; none if a file of theirs is missing."""
        if not self._checkpoint.has_file(_AGREEMENT):
            return []
        rounds: list[Checks] = json.loads(self._checkpoint.read_file(_AGREEMENT))
        kept = all(self._checkpoint.has_file(_file_of_round(number)) for number in range(len(rounds)))
        return rounds if kept or self._checkpoint.has_file(HEAD) else []

    def _targets(self, number: int) -> Targets:
        if not number:
            return RegionTargets(self._classes)
        before = self._read_head(_file_of_round(number - 1))
        return HeadTargets(before, self._batches, self._rows, self._settings.left_out)

    def _region_classes(self, job: Job, rows: npt.NDArray[np.int64]) -> RegionClasses:
        """Find what regions teach, once. A resumed run reads it, so it continues with the same bits."""
        if not all(map(self._checkpoint.has_file, (_CLASSES, _CLUSTERS))):
            found = find_region_classes(job, rows, self._settings.left_out)
            self._checkpoint.write_values(_CLASSES, found.classes)
            self._checkpoint.write_values(_CLUSTERS, np.array(found.clusters))
        clusters = int(self._checkpoint.read_values(_CLUSTERS))
        return RegionClasses(clusters, self._checkpoint.read_values(_CLASSES))

    def _taught(self) -> list[int]:
        """The clusters that some region teaches; warns if there are fewer than two classes to tell apart."""
        classes = np.unique(self._classes[self._rows])
        classes = classes[classes >= 0]
        if not len(classes):
            raise EmptyDatasetError(
                f"no region of the split {self._split} belongs to a cluster, so a head has nothing to learn; "
                f"dcn embed says which regions have no embedding"
            )
        if len(classes) == 1:
            name = f"cluster {classes[0]}" if classes[0] else "background"
            self._warn(
                f"all confident regions of the split {self._split} are {name}, so the head knows nothing "
                f"else; look at the foreground of the regions, or lower distill.left_out"
            )
        return [int(cluster) for cluster in classes if cluster]

    def _round(self, number: int, targets: Targets) -> Checks:
        """Train the head of a round, and keep it. Returns its checks."""
        settings = self._settings
        torch.manual_seed(_MOST_ROUNDS * settings.seed + number)
        trainer = HeadTrainer(self._new_head(), settings.learning_rate, settings.iterations)
        state = RoundState(number)
        if self._checkpoint.has_file(_STATE):
            state = RoundState.from_bytes(self._checkpoint.read_file(_STATE), number, trainer)
            progress.advance("distill", trainer.iteration)
        batches = self._batches.random(self._rows, trainer.iteration, settings.iterations)
        for rows, (assignment, *layers) in batches:
            if self._stands_still(state):  # a resumed round ended here before
                break
            with name_parameters("setting distill.{}"):
                loss = trainer.step(layers, targets(rows, assignment, layers))
            last = trainer.iteration == settings.iterations
            if trainer.iteration % settings.check_every == 0 or last:
                self._check(trainer, targets, state)
            agreement = f", {100 * state.checks[-1][1]:.1f} % agree" if state.checks else ""
            progress.advance("distill", 1, f"loss {loss:.3f}{agreement}")
            if self._clock.is_due() and not last:
                with self._clock.saving():
                    self._checkpoint.write_file(_STATE, state.to_bytes(trainer))
        progress.advance("distill", settings.iterations - trainer.iteration)
        trainer.head.load_state_dict(state.best)
        self._checkpoint.write_file(_file_of_round(number), head_bytes(trainer.head))
        return state.checks

    def _stands_still(self, state: RoundState) -> bool:
        """Say whether a round ends here. Only checks decide, so a resumed round ends at the same one."""
        patience = self._settings.patience
        return patience is not None and stands_still([value for _, value in state.checks], patience)

    def _check(self, trainer: HeadTrainer, targets: Targets, state: RoundState) -> None:
        """Measure the agreement on the held-out images, and keep the weights if it is the best so far."""
        hits = counted = 0
        for rows, (assignment, *layers) in self._batches.in_order(self._held_out):
            found = count_agreement(trainer.head, layers, targets(rows, assignment, layers))
            hits, counted = hits + found[0], counted + found[1]
        agreement = hits / counted if counted else 0.0
        if not state.checks or agreement > max(value for _, value in state.checks):
            weights = trainer.head.state_dict()
            state.best = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
        state.checks.append((trainer.iteration, agreement))

    def _summary(self, rounds: list[Checks], taught: list[int]) -> DistillSummary:
        vanished = self._vanished(self._read_head(HEAD), taught)
        if vanished:
            self._warn(
                f"the head finds {len(vanished)} of {self._num_clusters} clusters nowhere, although regions "
                f"taught them: {', '.join(map(str, vanished))}; more distill.iterations or fewer "
                f"distill.rounds may keep them"
            )
        return DistillSummary(
            images=len(self._rows),
            held_out_images=len(self._held_out),
            clusters=self._num_clusters,
            taught=len(taught),
            vanished=tuple(vanished),
            iterations=tuple(checks[-1][0] for checks in rounds),
            agreement=tuple(max(value for _, value in checks) for checks in rounds),
        )

    def _vanished(self, head: ClassHead, taught: list[int]) -> list[int]:
        """Find the clusters that the head gives to no patch of some photographs that taught them."""
        vanished = []
        for cluster in taught:
            teaches = (self._classes[self._rows] == cluster).any(axis=1)
            searched = evenly_spread(self._rows[teaches], _SEARCHED)
            batches = self._batches.in_order(searched)
            if not any((head(layers).argmax(dim=-1) == cluster).any() for _, (_, *layers) in batches):
                vanished.append(cluster)
        return vanished

    def _new_head(self) -> ClassHead:
        return ClassHead(self._width, self._description).to(self._device)

    def _read_head(self, name: str) -> ClassHead:
        return read_head(self._checkpoint, name, self._new_head())


def _file_of_round(number: int) -> str:
    return f"round-{number + 1}.safetensors"


def _rows_to_learn_from(job: Job) -> npt.NDArray[np.int64]:
    """The photographs of the training split that have regions and all their tokens."""
    index = open_index(job)
    rows = index.split_rows(index.summary.train_split)
    rows = rows[region_counts(job)[rows] > 0]
    if job.settings.more_token_layers:
        rows = rows[job.checkpoint("token_layers").array("present").rows(0, len(index))[rows]]
    return rows
