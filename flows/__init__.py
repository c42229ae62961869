"""The stages of the pipeline, their orchestration, and the command line.

The names below are the public interface of the package. Each is imported when it is first used.

Example:
    >>> from flows import find_job, load_settings, read_results
    >>> job = find_job(load_settings("sample"))  # the checkpoints that the configuration addresses
    >>> read_results(job).images  # after ``dcn run sample``
    8

"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.errors import FlowError
    from flows.evaluation.results import Results, read_results
    from flows.execution.plan import STAGES, find_job, states
    from flows.settings import Settings
    from flows.settings.loading import load_settings
    from flows.stage import Job, Stage

_MODULE_OF = {
    "STAGES": "flows.execution.plan",
    "FlowError": "flows.errors",
    "Job": "flows.stage",
    "Results": "flows.evaluation.results",
    "Settings": "flows.settings",
    "Stage": "flows.stage",
    "find_job": "flows.execution.plan",
    "load_settings": "flows.settings.loading",
    "read_results": "flows.evaluation.results",
    "states": "flows.execution.plan",
}

__all__ = [
    "STAGES",
    "FlowError",
    "Job",
    "Results",
    "Settings",
    "Stage",
    "find_job",
    "load_settings",
    "read_results",
    "states",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'flows' has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)
