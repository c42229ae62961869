"""Distillation: what is confident, what a step of the training is, and what a head learns."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from dcn.class_head import ClassHead
from dcn.distillation import NO_CLASS, HeadTrainer, confidence_limits, confident, count_agreement
from dcn.errors import NonFiniteTrainingError
from dcn.model_description import HeadDescription


def make_head() -> ClassHead:
    torch.manual_seed(0)
    return ClassHead(8, HeadDescription(layers=(-1,), depth=2, matched=(0, 1, 2, 3)))


def make_batch() -> tuple[list[torch.Tensor], torch.Tensor]:
    """Four groups of tokens in three images; some patches have no target."""
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(0, 4, (3, 16), generator=generator)
    tokens = 3 * F.one_hot(targets, 8).float() + 0.3 * torch.randn(3, 16, 8, generator=generator)
    return [tokens], targets.where(torch.rand(3, 16, generator=generator) > 0.3, NO_CLASS)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0, 2)), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.2, 0.5, 0.9]),
)
def test_the_farthest_share_of_each_class_is_left_out(
    members: list[tuple[int, float]], left_out: float
) -> None:
    classes = np.array([label for label, _ in members])
    doubt = np.array([value for _, value in members])
    kept = confident(classes, doubt, left_out)
    for label in np.unique(classes):
        inside = np.sort(doubt[classes == label])
        chosen = doubt[(classes == label) & kept]
        assert len(chosen) >= 1
        assert len(chosen) >= (1 - left_out) * (len(inside) - 1)
        np.testing.assert_array_equal(np.sort(chosen), inside[: len(chosen)])  # the nearest ones
        if len(set(inside)) == len(inside):
            assert len(chosen) == int((1 - left_out) * (len(inside) - 1) + 1e-9) + 1


def test_nothing_is_left_out_of_no_regions() -> None:
    assert confident(np.zeros(0, np.int64), np.zeros(0), 0.2).shape == (0,)


def test_a_class_that_was_never_predicted_is_never_sure() -> None:
    limits = confidence_limits(np.array([0, 0, 0, 0, 2]), np.array([0.9, 0.5, 0.7, 0.8, 0.4]), 3, 0.25)
    assert limits.tolist() == [0.7, np.inf, 0.4]
    # A quarter of four is left out, and a class of one keeps its only patch.


def test_a_step_is_adamw_on_the_cross_entropy_of_the_patches_with_a_target() -> None:
    trainer, twin, (layers, targets) = HeadTrainer(make_head(), 1e-3, 1000), make_head(), make_batch()
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=0.01)
    known = targets != NO_CLASS
    for _ in range(3):
        expected = F.cross_entropy(twin(layers)[known], targets[known])
        assert trainer.step(layers, targets) == pytest.approx(expected.item(), rel=1e-5)
        optimizer.zero_grad()
        expected.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
    for ours, theirs in zip(trainer.head.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_head_learns_groups_that_lie_apart() -> None:
    trainer, (layers, targets) = HeadTrainer(make_head(), 1e-2, 100), make_batch()
    for _ in range(100):
        trainer.step(layers, targets)
    known = int((targets != NO_CLASS).sum())
    assert count_agreement(trainer.head, layers, targets) == (known, known)


def test_a_batch_without_targets_teaches_nothing_and_breaks_nothing() -> None:
    trainer, (layers, targets) = HeadTrainer(make_head(), 1e-3, 10), make_batch()
    assert trainer.step(layers, torch.full_like(targets, NO_CLASS)) == 0
    assert all(parameter.isfinite().all() for parameter in trainer.head.parameters())
    assert count_agreement(trainer.head, layers, torch.full_like(targets, NO_CLASS)) == (0, 0)


def test_tokens_that_are_not_finite_change_no_weight() -> None:
    trainer, (layers, targets) = HeadTrainer(make_head(), 1e-3, 10), make_batch()
    layers[0][0, 0, 0] = torch.nan
    before = [parameter.clone() for parameter in trainer.head.parameters()]
    with pytest.raises(
        NonFiniteTrainingError, match="iteration 0: the loss of the head or its gradient is not"
    ):
        trainer.step(layers, targets.clamp(min=0))
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.head.parameters(), strict=True))


def test_an_infinite_gradient_of_a_finite_loss_changes_no_weight() -> None:
    trainer = HeadTrainer(make_head(), 1e-3, 10)
    before = [parameter.clone() for parameter in trainer.head.parameters()]
    next(trainer.head.parameters()).register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(
        NonFiniteTrainingError, match="iteration 0: the loss of the head or its gradient is not"
    ):
        trainer.step(*make_batch())
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.head.parameters(), strict=True))


def test_a_restored_state_continues_bit_for_bit() -> None:
    straight, interrupted = (HeadTrainer(make_head(), 1e-3, 6) for _ in range(2))
    batch = make_batch()
    for _ in range(5):
        straight.step(*batch)
    for _ in range(2):
        interrupted.step(*batch)
    saved = {name: value.clone() for name, value in interrupted.state().items()}
    torch.manual_seed(9)
    resumed = HeadTrainer(ClassHead(8, HeadDescription(layers=(-1,), depth=2, matched=(0, 1, 2, 3))), 1e-3, 6)
    resumed.restore(saved, 2)
    for _ in range(3):
        resumed.step(*batch)
    assert resumed.iteration == straight.iteration == 5
    for ours, theirs in zip(resumed.state().values(), straight.state().values(), strict=True):
        assert torch.equal(ours, theirs)
