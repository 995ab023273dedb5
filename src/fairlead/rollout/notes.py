"""What there is to tell a person: made by the machine beside its commands, stored as events by `controller`."""

from __future__ import annotations

from typing import Literal

import msgspec

from fairlead.rollout.state import Instance, Restarts, ServiceState
from fairlead.rollout.view import ServiceView

Level = Literal["info", "warning", "error"]

CRASH_LOOP_FAILURES = 5
"""So many failures in a row are no accident any more."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """``kind`` is a stable word for scripts (``replica-failed``), ``message`` a sentence for people."""

    kind: str
    message: str
    service: str
    replica_id: str | None = None
    level: Level = "info"


def replica_note(state: ServiceState, instance: Instance, kind: str, what: str, level: Level = "info") -> Note:
    """A note about one replica: ``shop.api.3 (api@7f3a91c2) is ready``."""
    return Note(
        kind=kind,
        message=f"{instance.id} ({instance.revision_id}) {what}",
        service=state.service,
        replica_id=instance.id,
        level=level,
    )


def failed(state: ServiceState, instance: Instance) -> Note:
    """A note about a replica that failed, with its reason."""
    return replica_note(state, instance, "replica-failed", f"failed: {instance.failure}", "error")


def unready(state: ServiceState, instance: Instance, view: ServiceView) -> Note:
    """A note about a replica that leaves the pool because its readiness probe fails."""
    health = view.health.get(instance.id)
    what = "is not ready any more, out of the pool" + (f": {health.reason}" if health and health.reason else "")
    return replica_note(state, instance, "replica-unready", what, "warning")


def crash_loop(state: ServiceState, instance: Instance, restarts: Restarts, now_s: float) -> list[Note]:
    """What to say of a slot whose replicas keep failing: once when it becomes a habit, once when it is the end."""
    slot = f"slot {instance.slot}"
    if restarts.exhausted:
        times = f"{restarts.attempts} failure{'s' if restarts.attempts > 1 else ''}"
        text = f"gave up on {slot} after {times}, as its restart policy says: {instance.failure}"
        return [service_note(state, "gave-up", text, "error")]
    if restarts.attempts != CRASH_LOOP_FAILURES:
        return []
    wait_s = max(0.0, restarts.next_at_s - now_s)
    text = f"{slot} is in a crash loop: {restarts.attempts} failures in a row, the next try is in {wait_s:.0f} s"
    return [service_note(state, "crash-loop", text, "error")]


def service_note(state: ServiceState, kind: str, message: str, level: Level = "info") -> Note:
    """A note about a whole service."""
    return Note(kind=kind, message=f"{state.service}: {message}", service=state.service, level=level)
