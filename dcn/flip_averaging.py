"""Flip averaging: the tokens of a photograph are averaged with those of its mirror image.

This is a test-time augmentation, which STEGO and its successors use. It doubles the time of the backbone.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dcn.backbone import Backbone, Features


def compute_features(
    backbone: Backbone,
    inputs: Tensor,
    token_layer: int,
    attention_block: int,
    more_layers: Sequence[int] = (),
    *,
    flip: bool,
) -> Features:
    """Compute :meth:`dcn.backbone.Backbone.features`, averaged over both views if ``flip``.

    Tokens that must agree with each other, such as those of a run and of its model, need the same ``flip``.
    """
    compute = flip_averaged_features if flip else Backbone.features
    return compute(backbone, inputs, token_layer, attention_block, more_layers)


def flip_averaged_features(
    backbone: Backbone,
    inputs: Tensor,
    token_layer: int = -1,
    attention_block: int = -1,
    more_layers: Sequence[int] = (),
) -> Features:
    """Compute tokens and CLS attention as :meth:`dcn.backbone.Backbone.features`, averaged over both views.

    Args:
        backbone: the backbone.
        inputs: ``[B, 3, H, W]``, see :meth:`dcn.backbone.Backbone.features`.
        token_layer: block whose output gives the tokens.
        attention_block: block whose self-attention gives the CLS attention.
        more_layers: further blocks whose outputs give tokens.

    Raises:
        InvalidOptionError: the model has no such block.

    """
    columns = inputs.shape[-1] // backbone.patch_size
    seen = backbone.features(inputs, token_layer, attention_block, more_layers)
    mirrored = backbone.features(inputs.flip(-1), token_layer, attention_block, more_layers)
    pairs = zip(seen.more_tokens, mirrored.more_tokens, strict=True)
    return Features(
        tokens=(seen.tokens + _mirror(mirrored.tokens, 1, columns)) / 2,
        attention=(seen.attention + _mirror(mirrored.attention, 2, columns)) / 2,
        more_tokens=tuple((one + _mirror(other, 1, columns)) / 2 for one, other in pairs),
    )


def _mirror(values: Tensor, patches: int, columns: int) -> Tensor:
    """Mirror the patches in dimension ``patches``, which are in row-major order."""
    mirrored: Tensor = values.unflatten(patches, (-1, columns)).flip(patches + 1)
    return mirrored.flatten(patches, patches + 1)
