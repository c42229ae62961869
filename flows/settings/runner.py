"""Settings of the runner: threads in this process, or workers of Dask, compute the shards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from dcn.options import Options, PositiveInt

# A configuration may name a class of these packages only, because importing a module runs its code.
CLUSTER_PACKAGES = ("dask_jobqueue", "dask_kubernetes", "dask_cloudprovider", "dask_cuda")


class TLSSettings(Options):
    """TLS certificates in PEM files. A holder of a certificate of this authority can run code on workers."""

    ca_file: Path = Field(description="Certificate of the authority that signed the others.")
    cert: Path = Field(description="Certificate of this process and of the workers that it starts.")
    key: Path = Field(description="Private key of the certificate, readable by you alone.")


class AdaptiveSettings(Options):
    """Adaptive scaling: the number of workers follows the amount of work."""

    minimum: Annotated[int, Field(ge=0)] = Field(0, description="Smallest number of workers.")
    maximum: PositiveInt = Field(description="Largest number of workers.")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"the minimum {self.minimum} is larger than the maximum {self.maximum}")
        return self


class RunnerSettings(Options):
    """Where the shards are computed. Changes no result. ``docs/guides/clusters.md`` has examples."""

    kind: Literal["threads", "dask"] = Field(
        "threads", description="Place of the computation: threads of this process, or Dask."
    )
    workers: PositiveInt = Field(
        1,
        description="Number of tasks that run at once. On a CPU one already uses all cores; for a GPU, "
        "several prepare photographs while it computes.",
    )
    address: str | None = Field(
        None, description="Address of a running Dask scheduler: ``tcp://host:8786`` or ``tls://host:8786``."
    )
    cluster: str | None = Field(
        None, description="Class that starts the workers, such as ``dask_jobqueue.SLURMCluster``."
    )
    cluster_arguments: dict[str, Any] = Field({}, description="Arguments of the class in ``cluster``.")
    adaptive: AdaptiveSettings | None = Field(
        None, description="Limits between which the number of workers follows the work; empty: it is fixed."
    )
    keep: bool = Field(
        False, description="Keep one cluster for all stages of a run, so that only the first one queues."
    )
    tls: TLSSettings | None = Field(
        None, description="Certificates for a ``tls://`` address, or for the workers that ``cluster`` starts."
    )
    task_timeout: Annotated[float, Field(gt=0)] | None = Field(
        None, description="Number of seconds after which a task is tried again; empty: no limit."
    )

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address is not None and not re.fullmatch(r"(tcp|tls)://[^/\s]+:\d+", address):
            raise ValueError("write tcp://HOST:PORT or tls://HOST:PORT")
        return address

    @field_validator("cluster")
    @classmethod
    def _check_cluster(cls, cluster: str | None) -> str | None:
        if cluster is not None and not re.fullmatch(rf"({'|'.join(CLUSTER_PACKAGES)})(\.\w+)+", cluster):
            raise ValueError(f"write the path of a class in {', '.join(CLUSTER_PACKAGES)}")
        return cluster

    @field_validator("cluster_arguments")
    @classmethod
    def _check_arguments(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        for name in _names(arguments):
            if re.search(r"(^|_)(cls|class)$|^preload", name.replace("-", "_")):
                raise ValueError(f"{name} could import any code into this process; remove it")
        return arguments

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.kind != "dask":
            for name in ("address", "cluster", "adaptive", "keep", "tls"):
                if getattr(self, name):
                    raise ValueError(f"{name} needs Dask; set runner.kind to dask")
        if self.address is not None:
            for name in ("cluster", "adaptive", "keep"):
                if getattr(self, name):
                    raise ValueError(f"the scheduler at the address has its own workers; remove {name}")
            if self.address.startswith("tls://") != (self.tls is not None):
                raise ValueError("an address tls://HOST:PORT and tls need each other; set both or neither")
        elif self.tls is not None and self.cluster is None:
            raise ValueError("tls needs an address or a cluster; a local cluster uses loopback only")
        if self.cluster_arguments and self.cluster is None:
            raise ValueError("cluster_arguments need a cluster; set runner.cluster to a class")
        return self


def _names(value: Any) -> Iterator[str]:
    """List the keys of nested mappings, also inside lists."""
    if isinstance(value, dict):
        yield from map(str, value)
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _names(inner)
