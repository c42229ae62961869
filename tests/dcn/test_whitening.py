"""Whitening of tokens, against scikit-learn's principal components."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

from dcn.errors import InvalidOptionError
from dcn.network import DynamicClusteringNetwork
from dcn.whitening import TokenWhitening, whiten_known, whitening_of


def make_tokens(count: int = 500, dim: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    scales = torch.linspace(0.2, 3, dim)
    return torch.randn(count, dim, generator=generator) * scales + 1


def fitted(tokens: torch.Tensor, directions: int) -> TokenWhitening:
    whitening = TokenWhitening(tokens.shape[-1], directions)
    whitening.fit(tokens)
    return whitening


def test_it_is_half_of_the_whitening_by_principal_components() -> None:
    tokens = make_tokens()
    unit = normalize(tokens.double().numpy())
    components = PCA(5).fit(unit)
    deviations = components.singular_values_ / np.sqrt(len(unit))
    expected = normalize(components.transform(unit) / np.sqrt(deviations))
    found = fitted(tokens, 5)(tokens).double().numpy() / np.sqrt(5)
    # The sign of a principal direction is free, so cosines between tokens are compared.
    assert np.allclose(found[:50] @ found[:50].T, expected[:50] @ expected[:50].T, atol=1e-4)


def test_whitened_tokens_have_the_length_of_normal_vectors() -> None:
    whitened = fitted(make_tokens(), 6)(make_tokens())
    assert torch.allclose(whitened.norm(dim=-1), torch.full((500,), 6**0.5), atol=1e-4)


def test_the_length_of_a_token_does_not_matter() -> None:
    whitening = fitted(make_tokens(), 6)
    tokens = make_tokens(20)
    assert torch.allclose(whitening(tokens), whitening(7 * tokens), atol=1e-4)


def test_there_are_never_more_directions_than_the_width_of_tokens() -> None:
    assert fitted(make_tokens(dim=4), 128)(make_tokens(dim=4)).shape == (500, 4)


@pytest.mark.parametrize("tokens", [torch.ones(30, 6), torch.zeros(30, 6), make_tokens(3, 6)])
def test_few_or_equal_tokens_give_finite_values(tokens: torch.Tensor) -> None:
    assert torch.isfinite(fitted(tokens, 5)(make_tokens(10, 6))).all()


def test_a_network_on_whitened_tokens_has_their_width_and_keeps_the_map() -> None:
    network = DynamicClusteringNetwork(12, num_prototypes=3, num_stages=1, whitened_dims=5)
    assert network.whitening is not None
    network.whitening.fit(make_tokens())
    projected = network.project(make_tokens()[None])
    assert projected.shape == (1, 500, 5)
    assert network(projected).shape == (1, 3, 5)
    copy = DynamicClusteringNetwork(12, num_prototypes=3, num_stages=1, whitened_dims=5)
    copy.load_state_dict(network.state_dict())
    assert torch.equal(copy.project(make_tokens()[None]), projected)


def test_without_whitening_a_network_takes_the_tokens_as_they_are() -> None:
    tokens = make_tokens()[None]
    network = DynamicClusteringNetwork(12, num_prototypes=3, num_stages=1)
    assert network.project(tokens) is tokens
    assert not any("whitening" in name for name in network.state_dict())


def test_without_a_token_there_is_no_whitening() -> None:
    with pytest.raises(InvalidOptionError, match="at least one token, not 0"):
        fitted(torch.zeros(0, 12), 5)


def test_a_single_token_is_whitened_to_finite_values() -> None:
    whitening = fitted(make_tokens(count=1), 5)
    assert whitening(make_tokens()).isfinite().all()


def test_embeddings_that_are_missing_stay_missing() -> None:
    whitening = fitted(make_tokens(), 5)
    embeddings = make_tokens(6).numpy().reshape(2, 3, 12)
    embeddings[0, 1] = 0
    embeddings[1, 2] = np.nan
    found = whiten_known(whitening, embeddings)
    assert found.shape == (2, 3, 5)
    assert not found[0, 1].any()
    assert np.isnan(found[1, 2]).all()
    np.testing.assert_array_equal(found[0, 0], whitening(torch.from_numpy(embeddings[0, 0])).numpy())


def test_half_precision_is_whitened_as_well() -> None:
    whitening, embeddings = fitted(make_tokens(), 5), make_tokens(6).numpy()
    found = whiten_known(whitening, embeddings.astype(np.float16))
    np.testing.assert_allclose(found, whiten_known(whitening, embeddings), atol=0.02)


def test_a_whitening_comes_back_from_its_tensors() -> None:
    whitening = fitted(make_tokens(), 5)
    again = whitening_of(whitening.state_dict())
    assert torch.equal(again(make_tokens()), whitening(make_tokens()))


@pytest.mark.parametrize(
    ("mean", "projection"),
    [
        (torch.zeros(4), torch.zeros(3, 2)),
        (torch.zeros(4), torch.zeros(4, 5)),
        (torch.zeros(4), torch.zeros(4, 0)),
        (torch.zeros(4, 1), torch.zeros(4, 2)),
        (torch.full((4,), torch.nan), torch.zeros(4, 2)),
    ],
    ids=["other width", "more directions than channels", "no direction", "flat mean", "NaN"],
)
def test_other_tensors_are_no_whitening(mean: torch.Tensor, projection: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="are no whitening"):
        whitening_of({"mean": mean, "projection": projection})
