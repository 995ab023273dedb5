"""How soon a slot whose replica failed gets another, and when to give up.

Called by `lifecycle`. Exponential backoff with jitter: the first replacement of a replica that had served comes
at once, then the policy's delay doubles up to a minute. The jitter is drawn from the replica's own id, so that
the same history gives the same times.
"""

from __future__ import annotations

from zlib import crc32

from fairlead.rollout.policy import BACKOFF_MOST_S, RestartRule
from fairlead.rollout.state import Restarts
from fairlead.spec.model import RestartCondition


def after_failure(
    before: Restarts,
    rule: RestartRule,
    *,
    replica_id: str,
    served: bool,
    clean_exit: bool,
    now_s: float,
    failure: str = "",
) -> Restarts:
    """The slot's record after one more failure. ``clean_exit``: it ended with status 0."""
    attempts = before.attempts + 1
    return Restarts(
        attempts=attempts,
        next_at_s=now_s + _delay(attempts, rule.delay_s, replica_id, served),
        exhausted=before.exhausted or _gives_up(rule, attempts, clean_exit),
        failure=failure,
    )


def _gives_up(rule: RestartRule, attempts: int, clean_exit: bool) -> bool:
    if rule.condition is RestartCondition.NONE:
        return True
    if rule.condition is RestartCondition.ON_FAILURE and clean_exit:
        return True
    return rule.max_attempts is not None and attempts > rule.max_attempts


def _delay(attempts: int, base_s: float, replica_id: str, served: bool) -> float:
    doublings = attempts - 2 if served else attempts - 1
    if doublings < 0:
        return 0.0
    jitter = 0.8 + 0.4 * (crc32(replica_id.encode()) % 1000) / 1000
    return min(base_s * 2.0 ** min(doublings, 30), BACKOFF_MOST_S) * jitter
