"""The products and the attention of a training step against what PyTorch computes in float64."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dcn.kernels import products
from dcn.kernels.products import Linear, product
from dcn.network import attend


def close(ours: torch.Tensor, exact: torch.Tensor) -> None:
    torch.testing.assert_close(ours.double(), exact.double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("onednn", [True, False])
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=50)
def test_a_product_and_its_gradients(onednn: bool, m: int, n: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b, weights = (
        torch.randn(shape, generator=generator).requires_grad_() for shape in ((m, d), (n, d), (m, n))
    )
    with pytest.MonkeyPatch.context() as patch:
        if not onednn:
            patch.setattr(products, "_onednn", lambda: None)
        for left, right in ((a, b), (a.mT.contiguous().mT, b.mT.contiguous().mT)):  # any strides
            result = product(left, right)
            close(result, a.double() @ b.double().mT)
            for_a, for_b = torch.autograd.grad(result, (a, b), weights)
            close(for_a, weights.double() @ b.double())
            close(for_b, weights.double().mT @ a.double())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_linear_layer_is_that_of_pytorch(bias: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = Linear(6, 9, bias=bias).to(dtype)
    torch.manual_seed(0)
    theirs = nn.Linear(6, 9, bias=bias).to(dtype)
    rows = torch.randn(2, 3, 6, dtype=dtype)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.testing.assert_close(
        ours(rows), theirs(rows), atol=2e-2 if dtype == torch.bfloat16 else 1e-6, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(st.integers(1, 3), st.integers(1, 8), st.integers(1, 30), st.integers(1, 20), st.integers(0, 99))
@settings(max_examples=50)
def test_attention_to_tokens_and_its_gradient(
    dtype: torch.dtype, batch: int, queries: int, n: int, d: int, seed: int
) -> None:
    """With tokens that want a gradient it is PyTorch's own; with data it is compiled."""
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randn(batch, queries, d, generator=generator, dtype=dtype).requires_grad_()
    tokens = torch.randn(batch, n, d, generator=generator, dtype=dtype)
    weights = torch.randn(batch, queries, d, generator=generator, dtype=dtype)
    ours, exact = attend(asked, tokens), attend(asked, tokens.clone().requires_grad_())
    close(ours, exact)
    close(*(torch.autograd.grad(result, asked, weights)[0] for result in (ours, exact)))


@pytest.mark.parametrize("n", [1, 3, 4, 5, 30])
def test_attention_does_not_overflow_when_every_score_is_larger_than_all_before(n: int) -> None:
    tokens = torch.arange(n, dtype=torch.float32)[None, :, None]  # [1, n, 1]
    queries = torch.tensor([[[1000.0], [0.0], [-1000.0]]], requires_grad=True)  # the last, all, the first
    assert attend(queries, tokens).flatten().tolist() == pytest.approx([n - 1, (n - 1) / 2, 0])


@pytest.mark.parametrize("where", ["queries", "tokens"])
def test_attention_shows_what_is_not_a_number(where: str) -> None:
    queries, tokens = torch.randn(3, 2, 4), torch.randn(3, 5, 4)
    (queries if where == "queries" else tokens)[1, 0, 0] = torch.nan
    result = attend(queries.requires_grad_(), tokens)
    assert result.isnan().any(dim=(1, 2)).tolist() == [False, True, False]


def test_the_number_of_threads_changes_no_bit_of_the_attention() -> None:
    torch.manual_seed(0)
    queries, tokens = torch.randn(5, 3, 8, requires_grad=True), torch.randn(5, 20, 8)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(attend(queries, tokens))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(result, results[0]) for result in results)


class TestOneDNN:
    """The function is internal to PyTorch, so it is checked before it is used."""

    @pytest.fixture(autouse=True)
    def ask_again(self) -> Iterator[None]:
        products._onednn.cache_clear()
        yield
        products._onednn.cache_clear()

    def test_it_is_used_where_pytorch_has_it(self) -> None:
        present = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        assert (products._onednn() is not None) == present

    def test_it_can_be_switched_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(products.SWITCH, "0")
        a, b = torch.randn(3, 4), torch.randn(5, 4)
        assert products._onednn() is None
        assert torch.equal(product(a, b), nn.functional.linear(a, b))

    @pytest.mark.parametrize("fault", ["wrong", "missing arguments", "NaN"])
    def test_a_function_that_is_not_what_it_was_is_not_used(
        self, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def changed(a: torch.Tensor, b: torch.Tensor, *_: object) -> torch.Tensor:
            if fault == "missing arguments":
                raise RuntimeError("expected 7 arguments")
            return nn.functional.linear(a, b) * (1.001 if fault == "wrong" else torch.nan)

        monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", changed)
        with caplog.at_level("INFO", products.__name__):
            a, b = torch.randn(3, 4), torch.randn(5, 4)
            assert torch.equal(product(a, b), nn.functional.linear(a, b))
        (record,) = caplog.records
        assert record.getMessage().startswith("products go the usual way of PyTorch")

    def test_the_check_draws_no_numbers_of_the_run(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        products._onednn()
        assert torch.equal(torch.rand(1), expected)
