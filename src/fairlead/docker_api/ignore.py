"""`.dockerignore`: which files of a build context stay at home.

Called by `context`. The rules are those of Docker's builder: the last pattern that matches decides, ``!`` takes
back, ``**`` crosses folders, and a pattern that matches a folder matches everything below it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import normpath


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    expression: re.Pattern[str]
    keeps: bool


def patterns_of(text: str) -> tuple[Pattern, ...]:
    found = []
    for line in text.removeprefix("\ufeff").splitlines():
        entry = line.strip()
        if not entry or line.startswith("#"):
            continue
        keeps = entry.startswith("!")
        entry = normpath(entry.removeprefix("!").strip()).lstrip("/")
        if entry not in ("", "."):
            found.append(Pattern(expression=_expression(entry), keeps=keeps))
    return tuple(found)


def is_ignored(path: str, patterns: Sequence[Pattern]) -> bool:
    """Whether ``path`` (relative, with slashes) stays at home."""
    ignored = False
    for pattern in patterns:
        if pattern.keeps is ignored and pattern.expression.match(path):
            ignored = not pattern.keeps
    return ignored


def _expression(pattern: str) -> re.Pattern[str]:
    text, position = "", 0
    while position < len(pattern):
        char = pattern[position]
        if pattern.startswith("**", position):
            position += 2
            if pattern.startswith("/", position):
                position += 1
                text += "(?:.*/)?"
            else:
                text += ".*"
            continue
        if char == "*":
            text += "[^/]*"
        elif char == "?":
            text += "[^/]"
        elif char == "[" and (end := pattern.find("]", position + 2)) > 0:
            text += "[" + pattern[position + 1 : end].replace("\\", "\\\\") + "]"
            position = end
        elif char == "\\" and position + 1 < len(pattern):
            position += 1
            text += re.escape(pattern[position])
        else:
            text += re.escape(char)
        position += 1
    return re.compile(f"{text}(?:/.*)?\\Z", re.DOTALL)
