"""One picture of a release under way, as lines of painted pieces: pure, so that a test can read it.

Called by `cli.live` several times a second. It fits the terminal: what does not change is left out first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.cli.output import duration
from fairlead.cli.paint import STATE_TONES, Tone, clip, printable, symbol, width_of
from fairlead.controller.controls import Operation, ProjectStatus, ReplicaRow, ServiceRow

Piece = tuple[str, Tone]
Line = list[Piece]

_FEWEST_REPLICA_LINES = 3
_STATE_WIDTH = len("completed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a picture is made of. ``since_s``: how long each replica has been in its state."""

    operation: Operation
    elapsed_s: float
    status: ProjectStatus
    rows: Sequence[ReplicaRow]
    since_s: Mapping[str, float]
    news: str = ""
    news_tone: Tone = Tone.DIM


def draw(scene: Scene, width: int, height: int) -> list[Line]:
    """The lines of the picture, none wider than ``width`` and no more than ``height``."""
    lines: list[Line] = [_title(scene)]
    room = max(height - 3 - len(scene.status.services), _FEWEST_REPLICA_LINES)
    shown = _chosen(scene, room)
    id_width = max((width_of(row.id) for row in shown), default=0)
    revision_width = max((width_of(row.revision) for row in shown), default=0)
    name_width = max((width_of(service.name) for service in scene.status.services), default=0)
    for service in scene.status.services:
        lines.append(_service_line(service, name_width))
        own = [row for row in shown if row.service == service.name]
        lines.extend(_replica_line(row, scene, id_width, revision_width) for row in own)
        hidden = sum(row.service == service.name for row in scene.rows) - len(own)
        if hidden:
            lines.append([(f"      {symbol('ellipsis')} and {hidden} more", Tone.DIM)])
    if scene.news:
        lines.append([("  " + scene.news, scene.news_tone)])
    return [_cut(line, width) for line in lines[:height]]


def _title(scene: Scene) -> Line:
    dot = f" {symbol('dot')} "
    title = [(scene.status.name, Tone.STRONG), (dot, Tone.DIM), (str(scene.operation.kind), Tone.PLAIN)]
    if scene.operation.release is not None:
        title += [(dot, Tone.DIM), (f"release {scene.operation.release}", Tone.PLAIN)]
    state = scene.status.state
    if state not in ("releasing", "running"):
        title += [(dot, Tone.DIM), (state, STATE_TONES.get(state, Tone.PLAIN))]
    return [*title, (dot, Tone.DIM), (duration(scene.elapsed_s), Tone.DIM)]


def _service_line(service: ServiceRow, name_width: int) -> Line:
    tone = Tone.GOOD if service.ready >= service.replicas else Tone.BUSY
    line = [
        ("  " + service.name.ljust(name_width), Tone.STRONG),
        (f"  {service.ready}/{service.replicas} ready", tone),
    ]
    if service.phase != "steady":
        line.append((f"  {service.phase}", Tone.BUSY))
    if service.message:
        line.append((f"  {printable(service.message)}", Tone.DIM))
    return line


def _replica_line(row: ReplicaRow, scene: Scene, id_width: int, revision_width: int) -> Line:
    tone = STATE_TONES.get(row.state, Tone.PLAIN)
    return [
        (f"    {symbol(row.state)} ", tone),
        (row.id.ljust(id_width) + "  ", Tone.PLAIN),
        (row.state.ljust(_STATE_WIDTH) + "  ", tone),
        (row.revision.ljust(revision_width) + "  ", Tone.DIM),
        ("" if row.state == "ready" else duration(scene.since_s.get(row.id, 0.0)).rjust(5), Tone.DIM),
        (_remark(row), Tone.DIM if row.state != "failed" else Tone.BAD),
    ]


def _remark(row: ReplicaRow) -> str:
    if row.state == "ready":
        return ""
    parts = []
    if row.in_flight:
        streams = f" ({row.streams} stream{'s' if row.streams > 1 else ''})" if row.streams else ""
        parts.append(f"{row.in_flight} in flight{streams}")
    if row.reason:
        parts.append(printable(row.reason))
    return "  " + ", ".join(parts) if parts else ""


def _chosen(scene: Scene, room: int) -> list[ReplicaRow]:
    """The rows that fit: those that change before those that serve, and each in its place."""
    if len(scene.rows) <= room:
        return list(scene.rows)
    changing = {service.name for service in scene.status.services if service.phase != "steady"}

    def rank(row: ReplicaRow) -> tuple[bool, bool, float]:
        return (row.state == "ready", row.service not in changing, scene.since_s.get(row.id, 0.0))

    kept = {row.id for row in sorted(scene.rows, key=rank)[:room]}
    return [row for row in scene.rows if row.id in kept]


def _cut(line: Line, width: int) -> Line:
    """``line`` without what would go beyond ``width``."""
    result: Line = []
    left = width
    for text, tone in line:
        if width_of(text) > left:
            result.append((clip(text, left), tone))
            break
        result.append((text, tone))
        left -= width_of(text)
    return result
