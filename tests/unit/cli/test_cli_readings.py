"""What two samples say together."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.cli.readings import lines, readings
from fairlead.controller.controls import StatsRow


def sample(at_s: float, cpu_s: float, **changes: Any) -> StatsRow:
    values: dict[str, Any] = {"replica": "shop.api.1", "service": "api", "memory_bytes": 2**20}
    return StatsRow(at_s=at_s, cpu_s=cpu_s, **(values | changes))


def test_a_share_is_growth_over_time() -> None:
    (found,) = readings([sample(10.0, 1.0, requests=100)], [sample(12.0, 4.0, requests=150)])
    assert (found.cpu_percent, found.requests_per_s) == (150.0, 25.0)


def test_the_first_sample_alone_has_no_shares() -> None:
    (found,) = readings([], [sample(10.0, 1.0, requests=3)])
    assert (found.cpu_percent, found.requests_per_s, found.requests) == (None, None, 3)


def test_a_counter_that_began_again_is_no_negative_share() -> None:
    (found,) = readings([sample(10.0, 9.0, requests=9)], [sample(11.0, 1.0, requests=1)])
    assert (found.cpu_percent, found.requests_per_s) == (0.0, 0.0)


@pytest.mark.parametrize("at_s", [10.0, 2.0])
def test_a_clock_that_began_again_gives_no_share(at_s: float) -> None:
    (found,) = readings([sample(10.0, 1.0)], [sample(at_s, 2.0)])
    assert found.cpu_percent is None


def test_a_replica_that_came_in_between_has_no_share_yet() -> None:
    before = [sample(10.0, 1.0)]
    after = [sample(11.0, 1.5), sample(11.0, 7.0, replica="shop.api.2")]
    assert [found.cpu_percent for found in readings(before, after)] == [50.0, None]


def test_what_is_not_known_is_a_dash() -> None:
    (found,) = readings([], [sample(10.0, 1.0)])
    header, row = lines([found])
    assert header.split()[0] == "REPLICA"
    assert row.split() == ["shop.api.1", "–", "1.0", "MiB", "/", "–", "–", "–", "0", "–", "–", "–", "–", "–"]
