"""How an operation looks while it goes: plain lines in a pipe.

Called by `cli.follow`, chosen by `cli.outcome`; the view for a terminal is in `cli.live`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from fairlead.cli.output import clock_time
from fairlead.cli.paint import Tone, paint, printable_lines
from fairlead.controller.controls import ProjectStatus, ReplicaRow
from fairlead.store.base import Event, Severity

SEVERITY_TONES = {Severity.INFO: Tone.PLAIN, Severity.WARNING: Tone.WARN, Severity.ERROR: Tone.BAD}


def event_line(event: Event, stream: TextIO | None = None) -> str:
    """``12:04:31  shop.api.3 (api@7f3a91c2) is ready``; further lines of a message stand below its first."""
    tone = SEVERITY_TONES[event.severity]
    time = clock_time(event.at_s)
    first, *rest = printable_lines(event.message)
    lines = [f"{paint(time, Tone.DIM, stream)}  {paint(first, tone, stream)}"]
    lines += [" " * (len(time) + 2) + paint(line, tone, stream) for line in rest]
    return "\n".join(lines)


class PlainView:
    """One line for each thing that happens, for a pipe and for a log file."""

    wants_snapshots = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing to put away."""

    def event(self, event: Event) -> None:
        self._say(event_line(event, self._stream))

    def snapshot(self, status: ProjectStatus, rows: Sequence[ReplicaRow]) -> None:
        """Not asked for: what happens is told by the events."""

    def note(self, text: str) -> None:
        self._say(text)

    def tick(self) -> None:
        """Nothing moves between two lines."""

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)
