"""Short runs of the soak tests, so that they keep working."""

import re
from pathlib import Path

import pytest

from tests.soak.fuzz import feed
from tests.soak.native import stress
from tests.soak.soak import configuration, soak


@pytest.mark.soak
@pytest.mark.slow
def test_a_few_kills_change_no_result(photograph_folder: Path, tiny_weights: Path, tmp_path: Path) -> None:
    result = soak(configuration(photograph_folder, tiny_weights), tmp_path, kills=4, seed=1)
    assert sum(result.kills.values()) == 4
    assert result.pipelines >= 1


@pytest.mark.slow
def test_a_short_stress_of_the_native_libraries_ends_well() -> None:
    assert stress(2, processes=2) == [0, 0]


def test_a_short_fuzz_counts_what_was_read_and_refused() -> None:
    assert re.fullmatch(r"list: \d+ read, \d+ refused, slowest \d\.\d\d s", feed("list", 20, 0))
