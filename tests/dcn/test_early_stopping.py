"""The rule of early stopping against a plain second version, on random curves and on curves by hand."""

from hypothesis import given
from hypothesis import strategies as st

from dcn.early_stopping import smoothed, stands_still

CURVES = st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), max_size=25)


def plain_means(values: list[float]) -> list[float]:
    means = []
    for i, value in enumerate(values):
        if i == 0:
            means.append(value)
        elif i == 1:
            means.append((values[0] + value) / 2)
        else:
            means.append((values[i - 2] + values[i - 1] + value) / 3)
    return means


def plain_end(values: list[float], patience: int) -> int | None:
    """Number of checks after which training ends; None if it does not."""
    means = plain_means(values)
    for checks in range(patience + 1, len(values) + 1):
        best_before = best_of_last = float("-inf")
        for i in range(checks):
            if i < checks - patience:
                best_before = max(best_before, means[i])
            else:
                best_of_last = max(best_of_last, means[i])
        if best_of_last - best_before <= 0.002 * abs(best_before):
            return checks
    return None


def first_end(values: list[float], patience: int) -> int | None:
    """The same by the rule, asked after every check, as training does."""
    ends = (n for n in range(len(values) + 1) if stands_still(values[:n], patience))
    return next(ends, None)


@given(CURVES, st.integers(1, 6))
def test_training_ends_where_the_plain_rule_says(values: list[float], patience: int) -> None:
    assert first_end(values, patience) == plain_end(values, patience)


@given(CURVES, st.integers(1, 6))
def test_more_patience_never_ends_earlier(values: list[float], patience: int) -> None:
    end, patient_end = first_end(values, patience), first_end(values, patience + 1)
    assert patient_end is None or (end is not None and end < patient_end)


@given(CURVES)
def test_later_checks_change_no_smoothed_value(values: list[float]) -> None:
    whole = smoothed(values)
    assert len(whole) == len(values)
    assert all(smoothed(values[:n]) == whole[:n] for n in range(len(values)))


def test_a_curve_that_rises_slowly_goes_on_and_one_that_is_flat_or_falls_ends() -> None:
    rising = [0.1 * 1.002**i for i in range(30)]
    assert first_end(rising, 3) is None
    assert first_end([0.1] * 30, 3) == 4
    assert first_end([0.1 * 0.9**i for i in range(30)], 5) == 6


def test_one_high_check_in_noise_does_not_end_a_rise() -> None:
    values = [0.100, 0.102, 0.112, 0.104, 0.106, 0.108, 0.110, 0.112, 0.114, 0.116]
    assert first_end(values, 3) is None


def test_a_curve_of_zeros_ends() -> None:
    assert first_end([0.0] * 5, 2) == 3
