"""The drain contract: when a replica that left the pool may be signalled.

Called by `machine`. Out of every pool, confirmed; then nothing in flight, or its deadline over. Requests have
`drain_timeout`, websockets and event streams `stream_timeout`; towards its end streams are closed in stages, so
that their clients do not all come back in one instant.
"""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.rollout.definition import Definition
from fairlead.rollout.patience import deadlines, policy_for
from fairlead.rollout.progress import QUIET_S, standby_until_s
from fairlead.rollout.state import Instance, ServiceState
from fairlead.rollout.view import Presence, ServiceView
from fairlead.rollout.wanted import order_of
from fairlead.spec.model import Order

SHED_STAGES = 3
SHED_STAGE_S = 1.0
LEAST_STREAM_TIMEOUT_FOR_STAGES_S = 10.0

_NOTHING = Presence(in_pool=False, out=True)


def may_stop(
    state: ServiceState,
    instance: Instance,
    view: ServiceView,
    definitions: Mapping[str, Definition],
    now_s: float,
) -> bool:
    """Whether the drain contract allows to signal ``instance`` now."""
    if not view.is_out(instance.id):
        return False
    if not instance.served or not view.routed:
        return not _is_standby(state, instance, definitions, now_s)
    since_s = _since(instance, now_s)
    if since_s is None or since_s < QUIET_S or _is_standby(state, instance, definitions, now_s):
        return False
    limits = deadlines(state, instance, policy_for(instance, definitions))
    presence = view.presence.get(instance.id, _NOTHING)
    requests_done = presence.requests == 0 or since_s >= limits.requests_s
    return requests_done and (presence.streams == 0 or since_s >= limits.streams_s)


def shed_due(
    state: ServiceState, instance: Instance, view: ServiceView, definitions: Mapping[str, Definition], now_s: float
) -> float | None:
    """The share of its streams to close now, None where it is not time."""
    presence = view.presence.get(instance.id, _NOTHING)
    limits = deadlines(state, instance, policy_for(instance, definitions))
    if presence.streams == 0 or limits.streams_s < LEAST_STREAM_TIMEOUT_FOR_STAGES_S:
        return None
    left = SHED_STAGES - instance.shed_stage
    due_s = limits.streams_s - left * SHED_STAGE_S
    since_s = _since(instance, now_s)
    if left <= 0 or since_s is None or since_s < due_s:
        return None
    return 1.0 / left


def _since(instance: Instance, now_s: float) -> float | None:
    """How long the proxy has been known to send it nothing new; None: not known to."""
    return None if instance.out_since_s is None else now_s - instance.out_since_s


def _is_standby(state: ServiceState, instance: Instance, definitions: Mapping[str, Definition], now_s: float) -> bool:
    """Kept alive, out of the pool, while its successors are monitored: the fastest way back."""
    rollout = state.rollout
    if rollout is None or rollout.origin is None or instance.failure or instance.key != rollout.origin.key:
        return False
    # Stop-first needs its place, and one that never got ready is no way back.
    if order_of(state, definitions) is Order.STOP_FIRST or instance.ready_at_s is None:
        return False
    until_s = standby_until_s(state, definitions)
    return until_s is None or now_s < until_s
