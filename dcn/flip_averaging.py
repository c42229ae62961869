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
    token_layer: int = -1,
    attention_block: int = -1,
    more_layers: Sequence[int] = (),
    *,
    flip: bool,
) -> Features:
    """Compute tokens and CLS attention, averaged over both views if ``flip``.

    Tokens that must agree with each other, such as those of a run and of its model, need the same ``flip``.

    Args:
        backbone: the backbone.
        inputs: this and the next three are those of :meth:`dcn.backbone.Backbone.features`.
        token_layer: see there.
        attention_block: see there.
        more_layers: see there.
        flip: whether to average with the mirror image.

    Raises:
        InvalidOptionError: the model has no such block.

    """
    seen = backbone.features(inputs, token_layer, attention_block, more_layers)
    if not flip:
        return seen
    columns = inputs.shape[-1] // backbone.patch_size
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
