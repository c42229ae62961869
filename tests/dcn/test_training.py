"""Training: what a step does, what a resumed run repeats, what stops it, what is called a collapse."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dcn.errors import NonFiniteTrainingError
from dcn.evaluation.attainable import attainable_modularity
from dcn.modularity import ModularityLoss, cosine_assignment, modularity
from dcn.network import DynamicClusteringNetwork, UpdateBlock
from dcn.training import Trainer, batch_rows, center_variance, held_out_modularity, used_clusters


def make_trainer(**options: Any) -> Trainer:
    torch.manual_seed(0)
    return Trainer(DynamicClusteringNetwork(8, num_prototypes=3, num_stages=2), **options)


def make_tokens(batch: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    groups = torch.randn(batch, 3, 8, generator=generator)
    return groups.repeat_interleave(6, dim=1) + 0.2 * torch.randn(batch, 18, 8, generator=generator)


def test_a_step_is_adamw_on_the_negative_mean_modularity() -> None:
    trainer = make_trainer(max_gradient_norm=None)
    torch.manual_seed(0)
    twin = DynamicClusteringNetwork(8, num_prototypes=3, num_stages=2)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-4, weight_decay=0.01)
    tokens = make_tokens()
    for _ in range(3):
        record = trainer.step(tokens, list("abcd"))
        loss = -modularity(tokens, cosine_assignment(tokens, twin(tokens))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert record.modularity == pytest.approx(-loss.item(), rel=1e-5)
    for ours, theirs in zip(trainer.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_training_raises_the_modularity() -> None:
    trainer = make_trainer(learning_rate=1e-3)
    values = [trainer.step(make_tokens(), list("abcd")).modularity for _ in range(60)]
    assert np.mean(values[-5:]) > values[0] + 0.01


def test_clipping_bounds_the_gradient_that_is_applied() -> None:
    trainer = make_trainer(max_gradient_norm=1e-3)
    record = trainer.step(make_tokens(), list("abcd"))
    gradients = [p.grad for p in trainer.network.parameters() if p.grad is not None]
    assert len(gradients) == len(list(trainer.network.parameters()))
    applied = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    assert record.gradient_norm > 1e-3
    assert applied == pytest.approx(1e-3, rel=1e-2)


def test_cosine_schedule_ends_at_zero() -> None:
    trainer = make_trainer(schedule="cosine", iterations=4)
    rates = []
    for _ in range(4):
        trainer.step(make_tokens(), list("abcd"))
        rates.append(trainer._optimizer._adamw.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-4, 1e-4 * 0.853553, 5e-5, 1e-4 * 0.146447], rel=1e-4)


def test_restored_state_continues_bit_for_bit() -> None:
    straight = make_trainer()
    interrupted = make_trainer()
    for _ in range(5):
        straight.step(make_tokens(), list("abcd"))
    for _ in range(2):
        interrupted.step(make_tokens(), list("abcd"))
    saved = {name: value.clone() for name, value in interrupted.state().items()}
    torch.manual_seed(99)
    resumed = Trainer(DynamicClusteringNetwork(8, num_prototypes=3, num_stages=2))
    resumed.restore(saved, 2)
    for _ in range(3):
        resumed.step(make_tokens(), list("abcd"))
    assert resumed.iteration == straight.iteration
    for ours, theirs in zip(resumed.state().values(), straight.state().values(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_tokens_stop_training_and_change_nothing(value: float) -> None:
    trainer = make_trainer()
    before = [p.clone() for p in trainer.network.parameters()]
    tokens = make_tokens()
    tokens[2, 3, 1] = value
    with pytest.raises(NonFiniteTrainingError, match=r"iteration 0: the modularity of third .* not finite"):
        trainer.step(tokens, ["first", "second", "third", "fourth"])
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.network.parameters(), strict=True))


def test_collapse_is_centers_that_do_not_depend_on_the_image() -> None:
    trainer = make_trainer()
    alive = trainer.step(make_tokens(), list("abcd"))
    assert not alive.collapsed
    with torch.no_grad():  # an update that adds nothing leaves the same prototypes for every image
        for block in trainer.network.dynamic_updates:
            assert isinstance(block, UpdateBlock)
            block.attention.output.weight.zero_()
    dead = trainer.step(make_tokens(), list("abcd"))
    assert dead.center_variance == pytest.approx(0, abs=1e-6)
    assert dead.collapsed


def test_center_variance_by_hand() -> None:
    opposite = torch.tensor([[[2.0, 0.0]], [[-3.0, 0.0]]])  # unit vectors cancel
    orthogonal = torch.tensor([[[2.0, 0.0]], [[0.0, 5.0]]])  # mean has length 1 / sqrt(2)
    assert center_variance(opposite) == pytest.approx(1)
    assert center_variance(orthogonal) == pytest.approx(0.5)
    assert center_variance(orthogonal[:1].expand(4, -1, -1)) == pytest.approx(0, abs=1e-6)
    assert np.isnan(center_variance(orthogonal[:1]))


def test_used_clusters_by_hand() -> None:
    assignment = torch.tensor([[[0.1, 0.9, 0.0], [0.2, 0.8, 0.0]], [[0.5, 0.4, 0.0], [0.1, 0.2, 0.3]]])
    assert used_clusters(assignment).tolist() == [[False, True, False], [True, False, True]]


@given(st.integers(1, 20), st.integers(1, 9), st.integers(0, 100))
@settings(max_examples=60)
def test_an_epoch_draws_every_image_once(images: int, batch_size: int, seed: int) -> None:
    rows = np.arange(100, 100 + images)
    iterations = 3 * images
    drawn = [row for i in range(iterations) for row in batch_rows(rows, batch_size, seed, i)]
    for epoch in range(len(drawn) // images):
        assert sorted(drawn[epoch * images : (epoch + 1) * images]) == rows.tolist()


def test_batches_depend_on_the_seed() -> None:
    rows = np.arange(1000)
    assert batch_rows(rows, 8, 0, 3) == batch_rows(rows, 8, 0, 3)
    assert batch_rows(rows, 8, 0, 3) != batch_rows(rows, 8, 1, 3)


def test_attainable_modularity_finds_orthogonal_groups() -> None:
    tokens = torch.eye(4).repeat_interleave(5, dim=0)[None]  # four orthogonal groups of five: q = 3/4
    assert attainable_modularity(tokens, 4).item() == pytest.approx(0.75, abs=1e-3)
    assert attainable_modularity(tokens, 2).item() < 0.6


def test_attainable_modularity_is_no_less_than_a_trained_network_reaches() -> None:
    trainer = make_trainer(learning_rate=1e-3)
    tokens = make_tokens()
    for _ in range(60):
        trainer.step(tokens, list("abcd"))
    reached = held_out_modularity(trainer.network, tokens, ModularityLoss())
    assert (attainable_modularity(tokens, 3) > reached - 0.01).all()


def test_attainable_modularity_of_fewer_distinct_tokens_than_centers() -> None:
    tokens = torch.eye(2)[None].repeat(1, 3, 1)
    assert attainable_modularity(tokens, 5).item() == pytest.approx(0.5, abs=1e-3)


def test_a_temperature_merges_what_plain_cosines_keep_apart() -> None:
    """Two groups and four centers: a softmax finds two communities, cosines alone gain by using all four."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.nn.functional.normalize(torch.randn(1, 2, 16, generator=generator), dim=-1)
    tokens = groups.repeat_interleave(20, dim=1) + 0.05 * torch.randn(1, 40, 16, generator=generator)
    whole = groups.repeat(1, 2, 1)
    halves = torch.stack([tokens[0, i * 10 : i * 10 + 10].mean(dim=0) for i in range(4)])[None]
    two, four = cosine_assignment(tokens, whole[:, :2]), cosine_assignment(tokens, halves)
    hard_two, hard_four = (
        torch.nn.functional.one_hot(a.argmax(-1), a.shape[-1]).float() for a in (two, four)
    )
    assert modularity(tokens, two, 1.0, 1e-3).item() == pytest.approx(
        modularity(tokens, hard_two).item(), abs=1e-4
    )
    assert modularity(tokens, four, 1.0, 1e-3).item() == pytest.approx(
        modularity(tokens, hard_four).item(), abs=1e-2
    )
    assert modularity(tokens, two, 1.0, 0.01) > modularity(tokens, four, 1.0, 0.01) + 0.05
    assert modularity(tokens, four) > modularity(tokens, two)
