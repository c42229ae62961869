"""The commands that print metrics: ``dcn report`` on a finished run, ``dcn results``."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from flows.cli.running import print_comparison
from flows.settings import Settings
from tests.flows.helpers import STAGES, command


def test_results_prints_the_metrics_of_a_finished_run(finished: Settings, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(finished.model_dump(mode="json")))
    printed = subprocess.run(command("results", config), capture_output=True, text=True, timeout=120)
    assert printed.returncode == 0, printed.stderr
    assert "k-means mIoU" in printed.stdout
    machine_readable = subprocess.run(
        command("results", config, "--json"), capture_output=True, text=True, timeout=120, check=True
    )
    stages = json.loads(machine_readable.stdout)
    assert set(stages) == set(STAGES)
    assert 0 < stages["evaluate"]["metrics"]["upper_bound"]["accuracy"] <= 1


@pytest.mark.slow
def test_report_prints_metrics_and_page_when_nothing_is_left_to_compute(
    copy: Settings, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(copy.model_dump(mode="json")))
    result = subprocess.run(command("report", config), capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("reused") == 1
    assert "k-means mIoU" in result.stdout
    assert "report.html" in result.stdout


def test_no_number_of_a_wide_comparison_is_cut_off(capsys: pytest.CaptureFixture[str]) -> None:
    """A ladder has more than twenty columns, some of them with intervals and deviations."""
    row = [f"0.{number:03} [0.392, 0.488] ± 0.012" for number in range(24)]
    print_comparison(["", *("cluster accuracy of true regions" for _ in row)], [["paper, 5 seeds", *row]])
    printed = capsys.readouterr().out
    assert all(cell in printed for cell in row)
