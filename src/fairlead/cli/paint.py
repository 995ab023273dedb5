"""Colour, symbols and widths of a terminal: off in a pipe, with NO_COLOR and on a dumb terminal.

Called by everything in `cli` that prints.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from enum import Enum
from typing import TextIO


class Tone(Enum):
    """What a piece of text means, not which colour it has; the value is the ANSI code."""

    PLAIN = ""
    GOOD = "32"
    BUSY = "36"
    WARN = "33"
    BAD = "31"
    DIM = "2"
    STRONG = "1"


STATE_TONES = {
    "ready": Tone.GOOD,
    "running": Tone.GOOD,
    "succeeded": Tone.GOOD,
    "creating": Tone.BUSY,
    "starting": Tone.BUSY,
    "releasing": Tone.BUSY,
    "draining": Tone.WARN,
    "stopping": Tone.WARN,
    "paused": Tone.WARN,
    "degraded": Tone.WARN,
    "rolling-back": Tone.WARN,
    "rolled-back": Tone.WARN,
    "failed": Tone.BAD,
    "stopped": Tone.DIM,
    "completed": Tone.DIM,
    "superseded": Tone.DIM,
    "down": Tone.DIM,
    "steady": Tone.DIM,
}

_SYMBOLS = {
    "ready": ("✓", "+"),
    "completed": ("✓", "+"),
    "creating": ("·", "."),
    "starting": ("•", "*"),
    "draining": ("↓", "v"),
    "stopping": ("↓", "v"),
    "stopped": ("·", "."),
    "failed": ("✗", "x"),
    "ellipsis": ("…", "~"),
    "arrow": ("→", "->"),
    "dot": ("·", "-"),
    "bar": ("│", "|"),
    "dash": ("–", "-"),
}


def coloured(stream: TextIO) -> bool:
    """Whether ``stream`` takes colours."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return is_terminal(stream)


def is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False


def paint(text: str, tone: Tone, stream: TextIO | None = None) -> str:
    if tone is Tone.PLAIN or not text or not coloured(stream or sys.stdout):
        return text
    return f"\033[{tone.value}m{text}\033[0m"


def symbol(name: str, stream: TextIO | None = None) -> str:
    """The sign for a state; plain ASCII where the stream's encoding has no other."""
    sign, plain = _SYMBOLS.get(name, (" ", " "))
    try:
        sign.encode((stream or sys.stdout).encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return plain
    return sign


def columns() -> int:
    return shutil.get_terminal_size((100, 30)).columns


def width_of(text: str) -> int:
    """How many cells of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def clip(text: str, width: int) -> str:
    """``text`` cut to ``width`` cells, with a sign where something was cut off."""
    if width_of(text) <= width:
        return text
    sign = symbol("ellipsis")
    kept, used = [], width_of(sign)
    for character in text:
        used += _cells(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + sign if width > 0 else ""


def printable(text: str) -> str:
    """``text`` on one line and without what a terminal would act upon."""
    return "".join(character if character.isprintable() else " " for character in text)


def printable_lines(text: str) -> list[str]:
    """``text`` line by line, each :func:`printable`; at least one."""
    return [printable(line) for line in text.splitlines()] or [""]


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
