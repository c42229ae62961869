"""All pictures: the photographs that each shows, and the settings of the runs whose results it shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flows.settings import Settings
from flows.settings.loading import load_settings

FOLDER = Path(__file__).parent
# Photographs of the sample whose license lets us show them, with the credit that a page gives. The others are
# left out: china because these suffice, the motorcycles because they come without a license.
CREDITS = {
    "astronaut": "NASA (public domain)",
    "chelsea": "Stefan van der Walt (CC0)",
    "coffee": "Rachel Michetti (CC0)",
    "flower": "[vultilion](https://www.flickr.com/photos/vultilion/6056698931) (CC BY 2.0, colored by us)",
    "rocket": "SpaceX (public domain)",
}


@dataclass(frozen=True)
class Run:
    """A run of the sample.

    Attributes:
        head: what stands above its pictures.
        overrides: settings in which it differs from the configuration ``sample``.

    """

    head: str
    overrides: tuple[str, ...] = ()

    def settings(self, workspace: str) -> Settings:
        return load_settings("sample", list(self.overrides), workspace)


@dataclass(frozen=True)
class Picture:
    """A picture: a row for each photograph, a column for each run.

    Attributes:
        name: name of its file, without the suffix.
        photographs: ids of its photographs.
        runs: the runs.
        shows: what is drawn of each run.
        stage: the last stage that each run needs. After ``evaluate`` the classes are drawn as well.
        side_by_side: number of photographs in a row.
        cell_width: width of a column in pixels.

    """

    name: str
    photographs: tuple[str, ...]
    runs: tuple[Run, ...]
    shows: Literal["regions", "foreground"] = "regions"
    stage: str = "segment"
    side_by_side: int = 1
    cell_width: int = 240

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.name}.jpg"


def _run(setting: str, value: float | str) -> Run:
    return Run(f"{setting} {value}", (f"{setting}={value}",))


_AFFINITY = "train.expected_affinity"

PICTURES = (
    Picture(
        "strip",
        ("coffee", "flower", "chelsea", "rocket"),
        (Run("regions"),),
        stage="evaluate",
        side_by_side=2,
        cell_width=150,
    ),
    Picture("too-many-regions", ("coffee", "rocket"), (_run(_AFFINITY, 0.4), _run(_AFFINITY, 0.05))),
    Picture("too-few-regions", ("astronaut", "coffee"), (_run(_AFFINITY, 0.05), _run(_AFFINITY, 0.4))),
    Picture(
        "object-in-two",
        ("chelsea",),
        (_run(_AFFINITY, 0.3), _run(_AFFINITY, 0.05), _run("train.num_prototypes", 2)),
    ),
    Picture("background-as-object", ("rocket",), (_run(_AFFINITY, 0.4), _run(_AFFINITY, 0.15)), "foreground"),
    Picture(
        "rough-borders",
        ("coffee", "rocket"),
        (_run("segment.refine", "false"), _run("segment.refine", "true")),
    ),
)
