"""Dask clusters: a local cluster, a cluster that a class starts, or the scheduler at an address."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.deploy.cluster import Cluster

from flows.addresses import is_loopback
from flows.errors import ClusterError, InvalidSettingsError
from flows.execution.certificates import temporary_certificate, tls_security
from flows.execution.job_queue import job_class
from flows.execution.same_package import require_same_package
from flows.settings import RunnerSettings
from flows.stage import Warn

# Extras of this package that install a module. Other packages have the name of their module, with hyphens.
_INSTALL = {
    "dask_jobqueue": "dynamic-clustering-network[slurm]",
    "dask_kubernetes": "dynamic-clustering-network[kubernetes]",
}
# Folder for the logs of jobs in the workspace. No stage has a hyphen in its name.
JOB_LOGS = "job-logs"
# A scheduler in this process would log every connection to the terminal.
logging.getLogger("distributed").setLevel(logging.WARNING)
# A lost scheduler is an error of the flow. The client would log a traceback as well.
logging.getLogger("distributed.client").setLevel(logging.CRITICAL)


@contextmanager
def open_client(settings: RunnerSettings, warn: Warn, workspace: str = "workspace") -> Iterator[Client]:
    """Connect to the scheduler of the settings. Start a cluster first if the settings name no address.

    Args:
        settings: settings of the kind ``dask``.
        warn: receives a warning if anybody on the network could send work to the workers.
        workspace: location of the workspace, where jobs leave their logs.

    Raises:
        InvalidSettingsError: the class of the cluster, or its arguments, are wrong.
        ClusterError: the cluster cannot be started, no scheduler answers at the address, or a process of the
            cluster does not have this package in this version.

    """
    if settings.address is not None:
        security = None if settings.tls is None else tls_security(settings.tls)
        _warn_of_open(settings.address, warn)
        try:
            client = Client(settings.address, security=security, set_as_default=False)
        except OSError as error:
            raise ClusterError(
                f"no Dask scheduler answers at runner.address {settings.address}: {error}"
            ) from error
        with client:
            require_same_package(client, settings.address)
            yield client
        return
    with open_cluster(settings, workspace) as cluster:
        _warn_of_open(cluster.scheduler_address, warn)
        with _connect(cluster) as client:
            yield client


def _connect(cluster: Cluster) -> Client:
    """Connect to a cluster when it has requested its workers, which takes seconds on a busy batch system.

    An interruption in the middle of that would leave a client that waits for ever when it is closed. So it is
    made in a thread of its own, which signals do not interrupt.
    """
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(Client, cluster, set_as_default=False)
        try:
            return making.result()
        except (KeyboardInterrupt, SystemExit):
            making.result().close()
            raise


@contextmanager
def open_cluster(settings: RunnerSettings, workspace: str) -> Iterator[Cluster]:
    """Start the cluster of the settings and request its workers. Stop all of it at the end.

    Raises:
        InvalidSettingsError: the class of the cluster, or its arguments, are wrong.
        ClusterError: the cluster cannot be started.

    """
    with ExitStack() as stack:
        if settings.cluster is None:
            cluster = stack.enter_context(_local_cluster(settings.workers))
        else:
            made = cluster_class(settings.cluster)
            arguments = _complete_arguments(settings, made, workspace, stack)
            cluster = stack.enter_context(_make_cluster(settings.cluster, made, arguments))
        if settings.adaptive is not None:
            cluster.adapt(minimum=settings.adaptive.minimum, maximum=settings.adaptive.maximum)
        else:
            cluster.scale(settings.workers)
        yield cluster


def cluster_class(name: str) -> type[Cluster]:
    """Import a class of clusters from a package that :class:`RunnerSettings` allows.

    Raises:
        InvalidSettingsError: it cannot be imported, or is no class of clusters.

    """
    module, _, attribute = name.rpartition(".")
    package = name.partition(".")[0]
    handler = signal.getsignal(signal.SIGINT)
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError as error:
        wanted = _INSTALL.get(package, package.replace("_", "-"))
        raise InvalidSettingsError(
            f"runner.cluster: {name} cannot be imported ({error}). "
            f"Install its package: python -m pip install '{wanted}'"
        ) from error
    finally:
        # dask_jobqueue sets a handler that ends the process with status 0 after Ctrl-C.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
    if not isinstance(found, type) or not issubclass(found, Cluster):
        raise InvalidSettingsError(
            f"runner.cluster: {name} is no class of Dask clusters (a subclass of distributed.deploy.Cluster)"
        )
    return found


def _complete_arguments(
    settings: RunnerSettings, made: type[Cluster], workspace: str, stack: ExitStack
) -> dict[str, Any]:
    """Arguments of a class of clusters: those of the settings, TLS, and what our jobs need.

    Args:
        settings: name the class.
        made: the class.
        workspace: location of the workspace, where jobs leave their logs.
        stack: deletes the certificate of the run when the cluster has ended.

    """
    arguments = dict(settings.cluster_arguments)
    if settings.tls is not None:
        arguments["security"] = tls_security(settings.tls)
    jobs = job_class(made)
    if jobs is None:
        return arguments
    submit = str(jobs.submit_command).split()[0]
    if shutil.which(submit) is None:
        # Dask submits jobs in the background, so the flow would wait for workers for ever.
        raise ClusterError(
            f"runner.cluster {settings.cluster} submits jobs with {submit}, which is not on this machine; "
            f"start this where jobs are submitted, as on a login node"
        )

    def given(name: str) -> Any:
        """An argument, or what the user's configuration of dask_jobqueue has in its place."""
        section = arguments.get("config_name") or jobs.default_config_name()
        return arguments.get(name) or dask.config.get(f"jobqueue.{section}.{name.replace('_', '-')}", None)

    shared = Path(os.path.expandvars(str(given("shared_temp_directory") or "."))).expanduser().absolute()
    if not given("log_directory"):
        place = shared if "://" in workspace else Path(workspace).absolute()
        arguments["log_directory"] = _in_job_script(
            place / JOB_LOGS, "runner.cluster_arguments.log_directory"
        )
    if arguments.get("security") is True:
        _in_job_script(shared, "runner.cluster_arguments.shared_temp_directory")
        arguments["security"] = stack.enter_context(temporary_certificate(shared))
    return {**arguments, "job_cls": jobs}


def _in_job_script(path: Path, setting: str) -> str:
    """Check a path that dask_jobqueue writes into job scripts, where the shell and SLURM would read it."""
    if not re.fullmatch(r"[\w./+@=,:-]+", str(path)):
        raise InvalidSettingsError(
            f"{setting} would be {str(path)!r}, but a path in a job script may have only letters, "
            f"digits and ./+@=,:_-; set {setting} to such a folder"
        )
    return str(path)


def _make_cluster(name: str, made: type[Cluster], arguments: dict[str, Any]) -> Cluster:
    try:
        return made(**arguments)
    except (TypeError, ValueError) as error:
        raise InvalidSettingsError(f"runner.cluster_arguments of {name}: {error}") from error
    except Exception as error:  # the packages of clusters have errors of their own
        raise ClusterError(f"runner.cluster {name} cannot be started: {error}") from error


@contextmanager
def _local_cluster(workers: int) -> Iterator[Cluster]:
    """Start workers on this machine, on loopback: processes with one task and their share of the cores."""
    share = str(max(1, CPU_COUNT // workers))
    with (
        # Dask leaves its folder behind.
        TemporaryDirectory(prefix="dcn-dask-", ignore_cleanup_errors=True) as folder,
        dask.config.set({"temporary-directory": folder}),
    ):
        with _interrupts_blocked():
            cluster = LocalCluster(
                n_workers=0,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=None,
                # A worker that ends during a heartbeat would log a traceback. The flow reports what matters.
                silence_logs=logging.CRITICAL,
                env=dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), share),
            )
        with cluster:
            cluster.scale(workers)
            cluster.wait_for_workers(workers)
            yield cluster


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start threads in which SIGINT is blocked, as it then is in the processes that they start.

    Ctrl-C in a terminal goes to the workers too. They would end with tracebacks before the flow ends them.
    """
    resource_tracker.ensure_running()  # when it starts, it allows SIGINT in its thread
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _warn_of_open(address: str, warn: Warn) -> None:
    parts = urlsplit(address)
    if parts.scheme == "tls" or is_loopback(parts.hostname or ""):
        return
    warn(
        f"the Dask scheduler at {address} does not use TLS: whoever reaches it can run code as its user. "
        f"See docs/guides/clusters.md"
    )
