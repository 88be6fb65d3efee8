"""The house formats, each against what a person would write."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.figures import numbers


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.accuracy(0.832), "83.2\u00a0%"),
        (numbers.accuracy(0.832, 0.797, 0.862), "83.2\u00a0% [79.7, 86.2]"),
        (numbers.accuracy(1.0), "100.0\u00a0%"),
        (numbers.auc(0.5721), ".572"),
        (numbers.auc(0.572, 0.531, 0.613), ".572 [.531, .613]"),
        (numbers.auc(1.0), "1.000"),
        (numbers.auc(0.572, math.nan, math.nan), ".572"),
        (numbers.correlation(-0.0412), "−.041"),
        (numbers.correlation(-0.0001), ".000"),
        (numbers.count(3, 500), "3 / 500"),
        (numbers.count(11_173_962), "11\u00a0173\u00a0962"),
        (numbers.p_value(0.0312), "p = .031"),
        (numbers.p_value(0.00004), "p < .001"),
        (numbers.fraction(0.0001), "0.01\u00a0%"),
        (numbers.fraction(0.05), "5\u00a0%"),
        (numbers.fraction(0.1234), "12\u00a0%"),
        (numbers.fraction(0.0), "0\u00a0%"),
        (numbers.points(-0.014), "−1.4 points"),
        (numbers.points(0.0001), "±0.0 points"),
        (numbers.difference(-0.041), "−.041"),
        (numbers.difference(0.012), "+.012"),
        (numbers.seconds(0.04), "40 ms"),
        (numbers.seconds(2.44), "2.4 s"),
        (numbers.seconds(59.7), "1 min"),
        (numbers.seconds(80), "1 min 20 s"),
        (numbers.seconds(7500), "2 h 5 min"),
        (numbers.weights(640), "640"),
        (numbers.weights(66_123), "66.1 k"),
        (numbers.weights(999_960), "1.0 M"),
        (numbers.weights(86_000_000), "86.0 M"),
        (numbers.in_unit(0.006, "%"), "0.6\u00a0%"),
        (numbers.in_unit(12.34, "nats"), "12.3 nats"),
        (numbers.power_of_ten(-6), "10<sup>−6</sup>"),
    ],
)
def test_written_as_a_person_would(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize(
    "write",
    [
        numbers.accuracy,
        numbers.auc,
        numbers.correlation,
        numbers.p_value,
        numbers.fraction,
        numbers.points,
        numbers.difference,
        numbers.seconds,
        numbers.weights,
        numbers.plain,
    ],
)
@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_missing_values_are_a_dash(write, missing) -> None:
    assert write(missing) == "–"


@given(st.floats(0, 1))
def test_an_auc_reads_back(value: float) -> None:
    assert float(numbers.auc(value)) == pytest.approx(value, abs=5.001e-4)


@given(st.floats(0, 10**6))
def test_seconds_never_show_sixty(value: float) -> None:
    assert "60 s" not in numbers.seconds(value)
    assert "60 min" not in numbers.seconds(value)
