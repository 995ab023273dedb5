"""Tables, JSON, times and durations, the same for every verb.

Called by `cli.verbs`. A table is cut to the terminal's width and never cut in a pipe.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.cli.paint import Tone, clip, columns, is_terminal, paint, printable, width_of

GAP = "  "
_NARROWEST = 8


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    tone: Tone = Tone.PLAIN


Row = Sequence[Cell | str]


def say(text: str = "") -> None:
    print(text, flush=True)


def note(text: str) -> None:
    """A line beside the result: to stderr, so that it never mixes with what a script reads."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """``value`` as JSON: indented for a person, on one line in a pipe."""
    import msgspec

    data = msgspec.json.encode(value)
    if is_terminal(sys.stdout):
        data = msgspec.json.format(data, indent=2)
    say(data.decode())


def print_json_line(value: Any) -> None:
    """``value`` as one line of JSON, for a stream."""
    import msgspec

    say(msgspec.json.encode(value).decode())


def print_table(headers: Sequence[str], rows: Sequence[Row], *, indent: str = "") -> None:
    """Print ``rows`` in columns; columns that are empty in every row are left out."""
    for line in table(headers, rows, indent=indent):
        say(line)


def table(headers: Sequence[str], rows: Sequence[Row], *, indent: str = "") -> list[str]:
    cells = [[_cell(entry) for entry in row] for row in rows]
    used = [place for place in range(len(headers)) if any(row[place].text for row in cells)]
    head = [Cell(headers[place], Tone.DIM) for place in used]
    body = [[row[place] for place in used] for row in cells]
    shown = [head, *body] if any(headers) else body
    widths = _fitted([max(width_of(row[place].text) for row in shown) for place in range(len(used))], len(indent))
    return [indent + _line(row, widths) for row in shown]


def _cell(entry: Cell | str) -> Cell:
    cell = Cell(entry) if isinstance(entry, str) else entry
    return Cell(printable(cell.text), cell.tone)


def _fitted(widths: list[int], indent: int) -> list[int]:
    """``widths`` made to fit the terminal: the widest column gives way first."""
    if not is_terminal(sys.stdout) or not widths:
        return widths
    room = columns() - indent - len(GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _NARROWEST:
        widest = len(widths) - 1 - widths[::-1].index(max(widths))
        others = max((width for place, width in enumerate(widths) if place != widest), default=0)
        surplus = sum(widths) - room
        widths[widest] -= max(1, min(surplus, widths[widest] - max(others, _NARROWEST)))
    return widths


def _line(row: Sequence[Cell], widths: Sequence[int]) -> str:
    parts = []
    for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
        text = clip(cell.text, width)
        padding = "" if place == len(row) - 1 else " " * (width - width_of(text))
        parts.append(paint(text, cell.tone) + padding)
    return GAP.join(parts).rstrip()


def duration(seconds: float | None) -> str:
    """A span for a person: ``0.8s``, ``45s``, ``12m``, ``5h``, ``3d``."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{max(seconds, 0.0):.1f}s"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def size(count_bytes: float) -> str:
    """A size for a person: ``48.2 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count_bytes < 1024 or unit == "GiB":
            return f"{count_bytes:.0f} {unit}" if unit == "B" else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1024
    raise AssertionError("the last unit takes everything")


def moment(at_s: float) -> str:
    """Date and time here."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))


def clock_time(at_s: float) -> str:
    """The time here, without the date."""
    return time.strftime("%H:%M:%S", time.localtime(at_s))
