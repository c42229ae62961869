"""Dask clusters: a local cluster, a cluster that a class starts, or the scheduler at an address."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from multiprocessing import resource_tracker
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security
from distributed.deploy.cluster import Cluster

from flows.addresses import is_loopback
from flows.errors import ClusterError, InvalidSettingsError
from flows.settings import RunnerSettings, TLSSettings
from flows.stage import Warn

# Extras of this package that install a module. Other packages have the name of their module, with hyphens.
_INSTALL = {
    "dask_jobqueue": "dynamic-clustering-network[slurm]",
    "dask_kubernetes": "dynamic-clustering-network[kubernetes]",
}
# A scheduler in this process would log every connection to the terminal.
logging.getLogger("distributed").setLevel(logging.WARNING)
# A lost scheduler is an error of the flow. The client would log a traceback as well.
logging.getLogger("distributed.client").setLevel(logging.CRITICAL)


@contextmanager
def open_client(settings: RunnerSettings, warn: Warn) -> Iterator[Client]:
    """Connect to the scheduler of the settings. Start a cluster first if the settings name no address.

    Args:
        settings: settings of the kind ``dask``.
        warn: receives a warning if anybody on the network could send work to the workers.

    Raises:
        InvalidSettingsError: the class of the cluster, or its arguments, are wrong.
        ClusterError: the cluster cannot be started, no scheduler answers at the address, or a process of the
            cluster does not have this package.

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
            _require_our_code(client, settings.address)
            yield client
        return
    with open_cluster(settings) as cluster:
        _warn_of_open(cluster.scheduler_address, warn)
        with Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def open_cluster(settings: RunnerSettings) -> Iterator[Cluster]:
    """Start the cluster of the settings and request its workers. Stop all of it at the end.

    Raises:
        InvalidSettingsError: the class of the cluster, or its arguments, are wrong.
        ClusterError: the cluster cannot be started.

    """
    with _local_cluster(settings.workers) if settings.cluster is None else _make_cluster(settings) as cluster:
        if settings.adaptive is not None:
            cluster.adapt(minimum=settings.adaptive.minimum, maximum=settings.adaptive.maximum)
        else:
            cluster.scale(settings.workers)
        yield cluster


def tls_security(settings: TLSSettings) -> Security:
    """Allow encrypted connections only, with one certificate for all roles.

    Raises:
        ClusterError: a file does not exist.

    """
    for name, path in (("ca_file", settings.ca_file), ("cert", settings.cert), ("key", settings.key)):
        if not path.is_file():
            raise ClusterError(f"runner.tls.{name}: there is no file {path}")
    roles = {
        f"tls_{role}_{name}": str(path.absolute())
        for role in ("client", "scheduler", "worker")
        for name, path in (("cert", settings.cert), ("key", settings.key))
    }
    return Security(require_encryption=True, tls_ca_file=str(settings.ca_file.absolute()), **roles)


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


def _make_cluster(settings: RunnerSettings) -> Cluster:
    assert settings.cluster is not None
    made = cluster_class(settings.cluster)
    submit = getattr(getattr(made, "job_cls", None), "submit_command", None)
    if submit is not None and shutil.which(submit.split()[0]) is None:
        # Dask submits jobs in the background, so the flow would wait for workers for ever.
        raise ClusterError(
            f"runner.cluster {settings.cluster} submits jobs with {submit.split()[0]}, which is not on this "
            f"machine; start this where jobs are submitted, as on a login node"
        )
    arguments = dict(settings.cluster_arguments)
    if settings.tls is not None:
        arguments["security"] = tls_security(settings.tls)
    try:
        return made(**arguments)
    except (TypeError, ValueError) as error:
        raise InvalidSettingsError(f"runner.cluster_arguments of {settings.cluster}: {error}") from error
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"runner.cluster {settings.cluster} cannot be started: {error}") from error


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


def _require_our_code(client: Client, address: str) -> None:
    """Check that scheduler and workers can import this package, and prepare the workers.

    A process that cannot import a function that it receives breaks the connection, and the flow would wait
    for ever. The check sends ``exec``, which every process has.
    """
    try:
        client.run_on_scheduler(exec, "import flows.execution.runners")
        client.run(exec, "from flows.execution.process import prepare_process; prepare_process()")
        client.run(exec, "import flows.execution.run")
    except ImportError as error:
        raise ClusterError(
            f"the scheduler at runner.address {address}, or a worker of it, cannot import this package "
            f"({error}): install it there, in the same version as here"
        ) from error


def _warn_of_open(address: str, warn: Warn) -> None:
    parts = urlsplit(address)
    if parts.scheme == "tls" or is_loopback(parts.hostname or ""):
        return
    warn(
        f"the Dask scheduler at {address} does not use TLS: whoever reaches it can run code as its user. "
        f"See docs/guides/clusters.md"
    )
