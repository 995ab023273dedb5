"""The histogram keeps quantiles to within a bucket, whatever comes in."""

import math

from hypothesis import given
from hypothesis import strategies as st

from fairlead.load.histogram import Histogram

durations_ms = st.floats(min_value=0.01, max_value=60_000.0)


@given(st.lists(durations_ms, min_size=1, max_size=200), st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_right_to_within_two_percent(values: list[float], share: float) -> None:
    histogram = Histogram()
    histogram.extend(values)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]
    assert abs(histogram.quantile(share) - exact) <= 0.02 * exact


@given(st.lists(durations_ms, min_size=1, max_size=50))
def test_count_mean_and_maximum_are_exact(values: list[float]) -> None:
    histogram = Histogram()
    histogram.extend(values)
    summary = histogram.to_json()
    assert summary["count"] == len(values)
    assert summary["max"] == round(max(values), 3)
    assert math.isclose(histogram.total_ms, math.fsum(values), rel_tol=1e-9)


def test_an_empty_histogram_has_no_duration() -> None:
    assert Histogram().to_json() == {
        "count": 0,
        "mean": 0.0,
        "p50": 0.0,
        "p90": 0.0,
        "p99": 0.0,
        "p999": 0.0,
        "max": 0.0,
    }
