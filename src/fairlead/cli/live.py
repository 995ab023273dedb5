"""The view for a terminal: a table that is drawn over itself, a line a replica.

Called by `cli.follow`, chosen by `cli.outcome`. rich is imported here and in `cli.screen` alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fairlead.cli.frame import Line, Scene, draw
from fairlead.cli.paint import Tone, coloured, printable_lines
from fairlead.cli.views import SEVERITY_TONES
from fairlead.controller.controls import Operation, ProjectStatus, ReplicaRow
from fairlead.store.base import Event, Severity

_STYLES = {
    Tone.PLAIN: "",
    Tone.GOOD: "green",
    Tone.BUSY: "cyan",
    Tone.WARN: "yellow",
    Tone.BAD: "red",
    Tone.DIM: "dim",
    Tone.STRONG: "bold",
}


class LiveView:
    """Keeps the newest picture on the terminal; the last one stays when the operation has ended."""

    wants_snapshots = True

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._begun = time.monotonic()
        self._console = Console(file=sys.stdout, no_color=not coloured(sys.stdout), highlight=False, soft_wrap=False)
        # Nothing else prints meanwhile; rich's stand-in for stdout would hide the terminal's encoding.
        self._live = Live(
            console=self._console, auto_refresh=False, transient=False, redirect_stdout=False, redirect_stderr=False
        )
        self._status: ProjectStatus | None = None
        self._rows: Sequence[ReplicaRow] = ()
        self._states: dict[str, tuple[str, float]] = {}
        self._news: tuple[str, Tone] = ("", Tone.DIM)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._news = ("", Tone.DIM)
        self.tick()
        self._live.stop()

    def event(self, event: Event) -> None:
        """Show what is wrong as a line that stays, and the rest as the news of the moment."""
        tone = SEVERITY_TONES[event.severity]
        if event.severity is Severity.INFO:
            self._news = (printable_lines(event.message)[0], Tone.DIM)
        else:
            text = "\n".join(printable_lines(event.message))
            self._live.console.print(Text(text, style=_STYLES[tone]))

    def snapshot(self, status: ProjectStatus, rows: Sequence[ReplicaRow]) -> None:
        now = time.monotonic()
        if status.operation is not None and status.operation.id == self._operation.id:
            self._operation = status.operation
        self._status, self._rows = status, rows
        self._states = {row.id: self._since(row, now) for row in rows}

    def note(self, text: str) -> None:
        self._live.console.print(Text(text, style=_STYLES[Tone.WARN]))

    def tick(self) -> None:
        if self._status is None:
            return
        now = time.monotonic()
        scene = Scene(
            operation=self._operation,
            elapsed_s=now - self._begun,
            status=self._status,
            rows=self._rows,
            since_s={replica_id: now - at for replica_id, (_, at) in self._states.items()},
            news=self._news[0],
            news_tone=self._news[1],
        )
        size = os.get_terminal_size(sys.stdout.fileno())
        lines = draw(scene, size.columns - 1, size.lines - 1)
        self._live.update(Text("\n").join(_text(line) for line in lines), refresh=True)

    def _since(self, row: ReplicaRow, now: float) -> tuple[str, float]:
        known = self._states.get(row.id)
        return known if known is not None and known[0] == row.state else (row.state, now)


def _text(line: Line) -> Text:
    text = Text(no_wrap=True, overflow="crop")
    for piece, tone in line:
        text.append(piece, style=_STYLES[tone])
    return text
