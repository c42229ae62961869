"""A function whose CUDA kernels are launched together.

A step of training consists of about a thousand small kernels, and a GPU computes each of them faster than
Python launches the next one. A CUDA graph records the launches once and repeats all of them by one call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Calls before the recording. In them libraries load their kernels and allocate memory, which a graph cannot.
_WARM_UP = 3


class Captured:
    """Calls a function of one tensor: through a CUDA graph if the tensor is on CUDA, directly elsewhere.

    The graph belongs to one shape, device and dtype; a tensor of another kind is recorded anew.

    Args:
        function: the function. The tensors that it reads besides its argument must stay where they are in
            memory, and it must not copy between device and host. The recording calls it several times, so a
            call must change nothing that a later one reads.

    Example:
        >>> double = Captured(lambda tensor: 2 * tensor)
        >>> double(torch.ones(2))
        tensor([2., 2.])

    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self._function = function
        self._graph: torch.cuda.CUDAGraph | None = None
        self._input = self._output = torch.empty(0)

    def __call__(self, tensor: Tensor) -> Tensor:
        """Call the function. On CUDA the next call overwrites the result."""
        if not tensor.is_cuda:
            return self._function(tensor)
        with torch.cuda.device(tensor.device):
            if self._graph is None or _kind(self._input) != _kind(tensor):
                self._record(tensor)
            assert self._graph is not None
            self._input.copy_(tensor)
            self._graph.replay()
        return self._output

    def _record(self, tensor: Tensor) -> None:
        self._graph = None  # frees the memory of the one before
        self._input = tensor.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._function(self._input)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may allocate pinned memory meanwhile: they read the next batch.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._output = self._function(self._input)
        self._graph = graph


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.device, torch.dtype]:
    return tensor.shape, tensor.device, tensor.dtype
