"""Backoff: the first replacement of a replica that served comes at once, then the delays double up to a minute."""

from __future__ import annotations

import pytest

from fairlead.rollout.policy import BACKOFF_MOST_S, RestartRule
from fairlead.rollout.restarts import after_failure
from fairlead.rollout.state import Restarts
from fairlead.spec.model import RestartCondition


def rule(
    condition: RestartCondition = RestartCondition.ANY, *, delay_s: float = 0.5, most: int | None = None
) -> RestartRule:
    return RestartRule(condition=condition, delay_s=delay_s, max_attempts=most, window_s=60.0)


def delays(count: int, *, served: bool) -> list[float]:
    record = Restarts()
    found = []
    for number in range(count):
        record = after_failure(record, rule(), replica_id=f"r.{number}", served=served, clean_exit=False, now_s=100.0)
        found.append(record.next_at_s - 100.0)
    return found


def test_what_served_is_replaced_at_once_and_later_ones_wait_longer() -> None:
    first, *later = delays(12, served=True)
    assert first == 0.0
    assert later == sorted(later, key=lambda delay: min(delay, 48.0))
    assert later[-1] <= BACKOFF_MOST_S * 1.2


def test_what_never_served_waits_from_the_first_time() -> None:
    assert 0.4 <= delays(1, served=False)[0] <= 0.6


def test_the_same_history_gives_the_same_delays() -> None:
    assert delays(8, served=True) == delays(8, served=True)


@pytest.mark.parametrize(
    ("condition", "clean", "gives_up"),
    [
        (RestartCondition.NONE, False, True),
        (RestartCondition.NONE, True, True),
        (RestartCondition.ON_FAILURE, True, True),
        (RestartCondition.ON_FAILURE, False, False),
        (RestartCondition.ANY, True, False),
    ],
)
def test_the_condition_decides_whether_there_is_another(
    condition: RestartCondition, clean: bool, gives_up: bool
) -> None:
    record = after_failure(Restarts(), rule(condition), replica_id="r.1", served=True, clean_exit=clean, now_s=0.0)
    assert record.exhausted is gives_up


def test_attempts_run_out() -> None:
    record = Restarts()
    for _ in range(3):
        record = after_failure(record, rule(most=2), replica_id="r", served=False, clean_exit=False, now_s=0.0)
    assert record.exhausted
