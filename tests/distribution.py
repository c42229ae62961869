"""How pytest-xdist distributes the tests over processes, and in which order they run."""

from __future__ import annotations

import re

import pytest
from dask.system import CPU_COUNT
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling


def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores, because many tests wait for servers, kills and time-outs."""
    return CPU_COUNT + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run files with slow tests first, so that no single process still runs one when all others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


class ByFileOrServer(LoadFileScheduling):
    """One process runs all tests of a file, and one all tests of a server: those tests share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        database = re.search(r"\[(sqlite|postgresql)\b", nodeid)
        return database[1] if database else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFileOrServer | None:
    if config.getvalue("dist") != "loadfile":
        return None
    # Reordering would sort by the number of tests, which says little about their time.
    config.option.loadscopereorder = False
    return ByFileOrServer(config, log)
