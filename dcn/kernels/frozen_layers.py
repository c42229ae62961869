"""Linear layers of a frozen model, multiplied by oneDNN, with a GELU that follows as part of the product.

Reference: ``torch.nn.Linear`` and timm's ``Mlp``. Test: ``tests/dcn/kernels/test_frozen_layers.py``.
"""

from __future__ import annotations

from timm.layers.mlp import Mlp
from torch import Tensor, nn

from dcn.kernels.products import linear


def use_onednn(model: nn.Module) -> None:
    """Let the linear layers of a model that is not trained multiply as :func:`dcn.kernels.products.linear`.

    The model keeps its parameters and their names. Layers of other types stay as they are.

    Args:
        model: model in evaluation mode, changed in place.

    """
    for module in list(model.modules()):
        if type(module) is Mlp and _is_linear_gelu_linear(module):
            module.__class__ = _FrozenMlp
        elif type(module) is nn.Linear:
            module.__class__ = _FrozenLinear


def _is_linear_gelu_linear(mlp: Mlp) -> bool:
    exact_gelu = type(mlp.act) is nn.GELU and mlp.act.approximate == "none"
    return exact_gelu and type(mlp.fc1) is nn.Linear and type(mlp.norm) is nn.Identity


class _FrozenLinear(nn.Linear):
    def forward(self, rows: Tensor) -> Tensor:
        return linear(rows, self.weight, self.bias)


class _FrozenMlp(Mlp):
    def forward(self, rows: Tensor) -> Tensor:
        hidden = linear(rows, self.fc1.weight, self.fc1.bias, gelu=True)
        output: Tensor = self.fc2(hidden)
        return output
