"""The figure of a confusion matrix."""

import io

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from dcn.figures.confusion import confusion_figure


def test_rows_are_true_classes_and_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 2, 200), rng.integers(0, 3, 200)
    counted = confusion_matrix(predicted, true, labels=[0, 1, 2])  # [predicted, true], class 2 never true
    figure = confusion_figure({"k-means": counted}, ["background", "cat", "dog"])
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    expected = confusion_matrix(true, predicted, labels=[0, 1, 2], normalize="true")
    np.testing.assert_allclose(shown, expected)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["background", "cat", "dog"]


@pytest.mark.parametrize("name", ["under $_5_$", "$", "5 $ bill", r"a\b", "100 % <b>"])
def test_a_class_name_is_never_parsed_as_mathematics(name: str) -> None:
    figure = confusion_figure({"k-means": np.eye(2, dtype=np.int64)}, ["background", name])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    assert buffer.tell()
