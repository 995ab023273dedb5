"""What a scripted controller tells and shows: scenes, and whole scripts of them.

Played by `scripted`; the tests of `cli` name the script that a controller of theirs follows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fairlead.controller.controls import ReplicaRow
from fairlead.errors import FairleadError

OLD, NEW = "api@11111111", "api@22222222"


def row(number: int, state: str, revision: str = NEW, **changes: Any) -> ReplicaRow:
    base = ReplicaRow(
        id=f"shop.api.{number}",
        project="shop",
        service="api",
        revision=revision,
        release=2,
        slot=number,
        state=state,
        health="ready" if state == "ready" else "starting",
        reason="",
        address=f"127.0.0.1:{40000 + number}",
        pid=1000 + number,
        native_id=str(1000 + number),
        engine="process",
        in_flight=0,
        streams=0,
        restarts=0,
        started_at_s=1_700_000_000.0,
        uptime_s=12.5,
    )
    return replace(base, **changes)


@dataclass(frozen=True)
class Scene:
    """What is so from now on. ``state`` other than running ends the operation with ``outcome``.

    ``release``: the state of the release that it made, ``watch_left_s``: for how long that is still watched;
    ``error``: what kept it from making one.
    """

    says: str = ""
    severity: str = "info"
    rows: tuple[ReplicaRow, ...] | None = None
    state: str = "running"
    outcome: str = ""
    phase: str = "rolling"
    paused: bool = False
    release: str = "succeeded"
    watch_left_s: float = 0.0
    error: FairleadError | None = None


SUCCESS = (
    Scene("shop.api.3 (api@22222222) starts", rows=(row(1, "ready", OLD), row(2, "ready", OLD), row(3, "starting"))),
    Scene("shop.api.3 (api@22222222) is ready", rows=(row(1, "ready", OLD), row(2, "ready", OLD), row(3, "ready"))),
    Scene(
        "shop.api.1 (api@11111111) drains",
        rows=(row(1, "draining", OLD, in_flight=2, streams=1), row(2, "draining", OLD), row(3, "ready")),
    ),
    Scene(
        "api: api@22222222 serves",
        rows=(row(3, "ready"), row(4, "ready")),
        state="succeeded",
        outcome="release 2 serves",
        phase="steady",
    ),
)

FAILURE = (
    Scene("shop.api.3 (api@22222222) starts", rows=(row(1, "ready", OLD), row(3, "starting"))),
    Scene(
        "shop.api.3 (api@22222222) failed: exited with status 3",
        "error",
        rows=(row(1, "ready", OLD), row(3, "failed", reason="exited with status 3")),
    ),
    Scene(
        "api: back to api@11111111",
        "warning",
        rows=(row(1, "ready", OLD),),
        state="rolled-back",
        outcome="shop.api.3 failed: exited with status 3; release 1 serves",
        phase="steady",
    ),
)

_SERVES = SUCCESS[-1]

# Two scenes of the watch: between a client's two questions a scripted controller may go on by one.
_WATCHED = (replace(_SERVES, watch_left_s=30.0), replace(_SERVES, says="still watched", watch_left_s=30.0))

SETTLED = (*SUCCESS[:-1], *_WATCHED, replace(_SERVES, says="the watch is over"))

RELAPSED = (
    *SUCCESS[:-1],
    *_WATCHED,
    replace(_SERVES, says="shop.api.3 failed", severity="error", watch_left_s=20.0),
    replace(_SERVES, says="back to api@11111111", severity="error", release="rolling-back"),
    replace(_SERVES, says="api@11111111 serves", release="rolled-back"),
)

SCRIPTS = {"SUCCESS": SUCCESS, "FAILURE": FAILURE, "ENDLESS": SUCCESS[:2], "CUT": SUCCESS}
"""By name. CUT stands still after two scenes; only a controller that found them in its journal goes on to the end."""
