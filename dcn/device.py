"""The choice of the device that PyTorch computes on."""

from __future__ import annotations

from dcn.errors import InvalidOptionError


def choose_device(name: str) -> str:
    """Choose the PyTorch device for a name. ``auto`` is CUDA if it is available, else the CPU.

    Raises:
        InvalidOptionError: this machine cannot use the device.

    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA asserts
        reason = str(error).partition("\n")[0]
        raise InvalidOptionError(
            f"device {name!r} cannot be used on this machine: {reason}; auto chooses one that can"
        ) from error
    return name
