"""What the machine asks to be done, as data: one external call each, with its cause; doing it twice equals once.

Decided by `machine` and `release`, journalled and carried out by `controller`.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from fairlead.routing import Route


class _OfReplica(msgspec.Struct, frozen=True, kw_only=True):
    """What all commands about one replica have. ``key``: two commands with the same one are the same deed."""

    verb: ClassVar[str]

    service: str
    replica_id: str
    cause: str

    @property
    def key(self) -> str:
        return f"{self.verb} {self.replica_id}"


class StartReplica(_OfReplica, frozen=True, kw_only=True, tag="start-replica"):
    """Start one replica. The engine does nothing if it runs already."""

    verb = "start"

    slot: int
    generation: int
    revision_id: str


class StopReplica(_OfReplica, frozen=True, kw_only=True, tag="stop-replica"):
    """End one replica: its signal, ``grace_s`` seconds, then SIGKILL."""

    verb = "stop"

    grace_s: float
    signal: str | None


class RemoveReplica(_OfReplica, frozen=True, kw_only=True, tag="remove-replica"):
    """Forget one replica that has ended."""

    verb = "remove"


class ShedStreams(_OfReplica, frozen=True, kw_only=True, tag="shed-streams"):
    """Close a share of the streams of one draining replica: ``share`` 0 to 1 of those that are left."""

    verb = "shed"

    share: float


AGAIN = "what it was told last may not have taken effect"
"""Why the proxy is told what it already seems to serve."""


class ApplyRoutes(msgspec.Struct, frozen=True, kw_only=True, tag="apply-routes"):
    """Make these the project's routes, whole. ``release``: under way when they were asked for."""

    routes: tuple[Route, ...]
    cause: str
    release: int = 0
    service: str = ""

    @property
    def key(self) -> str:
        return "routes"


Command = StartReplica | StopReplica | RemoveReplica | ShedStreams | ApplyRoutes
