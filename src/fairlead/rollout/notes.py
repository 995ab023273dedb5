"""What there is to tell a person: made by the machine beside its commands, stored as events by `controller`."""

from __future__ import annotations

from typing import Literal

import msgspec

from fairlead.rollout.state import Instance, ServiceState

Level = Literal["info", "warning", "error"]


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


def service_note(state: ServiceState, kind: str, message: str, level: Level = "info") -> Note:
    """A note about a whole service."""
    return Note(kind=kind, message=f"{state.service}: {message}", service=state.service, level=level)
