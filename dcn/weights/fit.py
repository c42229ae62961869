"""Whether a state dict is that of a model: every tensor has the shape that the model has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from dcn.errors import WeightsUnavailableError

State = dict[str, Tensor]

# Parts of a ViT that computes tokens. A file may have more: heads, and what only the training needs.
_TRUNK = (
    "blocks.",
    "cls_token",
    "dist_token",
    "norm.",
    "norm_pre.",
    "patch_embed.",
    "pos_embed",
    "reg_token",
)


def load_fitting(
    model: nn.Module, state: State, convert: Callable[[State, nn.Module], State], what: str
) -> None:
    """Load a state dict into a timm ViT, if it is that of this model.

    The grid of positions may have another size, because it is resampled for every input anyway. timm would
    also resample the patch embedding of another patch size, which gives a model that nobody trained.

    Args:
        model: a timm ViT.
        state: tensors by name, in timm's or the authors' spelling.
        convert: timm's function that changes the authors' spelling to its own.
        what: the file and the model, as ``x.pth is no checkpoint of dino-s8``, for messages.

    Raises:
        WeightsUnavailableError: a tensor is missing, has another shape, or has no place in the model.

    """
    own = model.state_dict()
    patches = own["patch_embed.proj.weight"]
    for name, value in state.items():
        # The only convolution of a ViT, whatever the authors call it.
        if value.ndim == 4 and value.shape[1] == patches.shape[1] and value.shape != patches.shape:
            raise _refused(what, _difference(name, value, patches) + _patch_sizes(value, patches))
    try:
        converted = convert(dict(state), model)
    except (RuntimeError, KeyError, ValueError, AssertionError, IndexError, AttributeError) as error:
        raise _refused(what, _positions(state, own)) from error
    for name, value in converted.items():
        if name in own and value.shape != own[name].shape:
            raise _refused(what, _difference(name, value, own[name]))
    missing = [name for name in own if name not in converted]
    foreign = [name for name in converted if name not in own and name.startswith(_TRUNK)]
    for names, problem in ((missing, "it lacks"), (foreign, "that model has no")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise _refused(what, f"{problem} {', '.join(names[:3])}{more}")
    model.load_state_dict(converted, strict=False)


def _difference(name: str, value: Tensor, own: Tensor) -> str:
    return f"{name} has the shape {_shown(value)}, and that of the model is {_shown(own)}"


def _patch_sizes(value: Tensor, own: Tensor) -> str:
    theirs, ours = value.shape[-1], own.shape[-1]
    return f" (patches of {theirs} pixels, not {ours})" if theirs != ours else ""


def _positions(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    if "pos_embed" in state and "pos_embed" in own and state["pos_embed"].shape != own["pos_embed"].shape:
        return _difference("pos_embed", state["pos_embed"], own["pos_embed"])
    return "its tensors are those of another architecture"


def _shown(value: Tensor) -> str:
    return " x ".join(map(str, value.shape))


def _refused(what: str, problem: str) -> WeightsUnavailableError:
    return WeightsUnavailableError(f"{what}: {problem}", parameter="weights")
