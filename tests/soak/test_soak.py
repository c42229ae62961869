"""A short run of the soak test, so that it keeps working."""

from pathlib import Path

import pytest

from tests.soak.soak import configuration, soak


@pytest.mark.soak
@pytest.mark.slow
def test_a_few_kills_change_no_result(photograph_folder: Path, tiny_weights: Path, tmp_path: Path) -> None:
    result = soak(configuration(photograph_folder, tiny_weights), tmp_path, kills=4, seed=1)
    assert sum(result.kills.values()) == 4
    assert result.pipelines >= 1
