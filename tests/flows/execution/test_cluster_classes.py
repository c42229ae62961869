"""Clusters by the name of a class: which are refused, with which arguments, and the job of SLURM's."""

import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.errors import ClusterError, InvalidSettingsError
from flows.execution.clusters import cluster_class, open_client
from flows.settings import RunnerSettings
from flows.settings.loading import load_settings

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dask_jobqueue.core.Job", "dask_jobqueue.core.Job is no class of Dask clusters"),
        ("dask_jobqueue.core.tmpfile", "is no class of Dask clusters"),
        ("dask_jobqueue.SlurmCluster", "dask_jobqueue.SlurmCluster is no class of Dask clusters"),
        ("dask_cloudprovider.aws.FargateCluster", "python -m pip install 'dask-cloudprovider'"),
    ],
)
def test_what_is_no_class_of_clusters_is_refused(name: str, message: str) -> None:
    with pytest.raises(InvalidSettingsError, match=re.escape(message)):
        cluster_class(name)


def test_a_package_of_ours_that_is_missing_is_named() -> None:
    """In a process in which it cannot be imported, whether it is installed here or not."""
    code = (
        "import sys; sys.modules['dask_kubernetes'] = None\n"
        "from flows.execution.clusters import cluster_class\n"
        "cluster_class('dask_kubernetes.operator.KubeCluster')"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (
        "Install its package: python -m pip install 'dynamic-clustering-network[kubernetes]'" in result.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, InvalidSettingsError, "runner.cluster_arguments of dask_jobqueue.SLURMCluster: .*cores"),
        (
            {"cores": 1, "memory": "1GB", "core": 1},
            InvalidSettingsError,
            "runner.cluster_arguments of .*'core'",
        ),
    ],
)
def test_wrong_arguments_of_a_cluster(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    error: Any,
    message: str,
) -> None:
    (tmp_path / "sbatch").touch(0o755)  # it is never called
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = RunnerSettings(kind="dask", cluster="dask_jobqueue.SLURMCluster", cluster_arguments=arguments)
    with pytest.raises(error, match=message), open_client(settings, lambda _: None):
        pass


def test_without_slurm_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = "submits jobs with sbatch, which is not on this machine"
    with (
        pytest.raises(ClusterError, match=message),
        open_client(load_settings("slurm").runner, lambda _: None),
    ):
        pass


def test_the_job_of_the_slurm_configuration(tmp_path: Path) -> None:
    override = f"runner.cluster_arguments.shared_temp_directory={tmp_path}"
    runner = load_settings("slurm", [override]).runner
    with cluster_class(str(runner.cluster))(**runner.cluster_arguments) as cluster:
        script = cluster.job_script()
        assert cluster.scheduler_address.startswith("tls://")
        for role in ("ca-file", "key", "cert"):
            (path,) = re.findall(rf"--tls-{role} (\S+)", script)
            assert Path(path).parent == tmp_path
            assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    lines = script.splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    assert {"#SBATCH -n 1", "#SBATCH --cpus-per-task=8", "#SBATCH --mem=30G", "#SBATCH -t 02:00:00"} <= set(
        lines
    )
    worker = lines[-1]
    assert worker.startswith(f"{sys.executable} -m distributed.cli.dask_worker tls://")
    for part in ("--nthreads 1 ", "--nworkers 8 ", "--nanny ", "--no-dashboard ", "--protocol tls:// "):
        assert part in worker
