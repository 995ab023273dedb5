"""Substitute ``$NAME`` and ``${NAME…}`` in one string, by Compose's rules.

Used for the values of Compose files and of ``.env`` files. ``$$`` is a dollar; ``${V:-d}``, ``${V-d}``,
``${V:?e}``, ``${V?e}``, ``${V:+a}`` and ``${V+a}`` nest; a dollar before anything else stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Lookup = Callable[[str], str | None]
Missing = Callable[[str], None]

_NAME = "[_a-zA-Z][_a-zA-Z0-9]*"
_START = re.compile(rf"\$(?:(?P<escaped>\$)|(?P<named>{_NAME})|\{{)")
_OPENED = re.compile(rf"{_NAME}(?=\}}|:?[-+?])")
_OPERATOR = re.compile(rf"({_NAME})(:?[-+?])(.*)\Z", re.DOTALL)
MAX_RESULT = 1024 * 1024
MAX_NESTING = 50


class TemplateError(Exception):
    """The text is no template; the message says which part and how to write it."""


class Kept(str):
    """What a lookup returns for a variable that somebody fills in later: the text ``${NAME}`` itself."""

    __slots__ = ()


class RequiredError(Exception):
    """``${NAME:?reason}`` without a value."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name)
        self.name, self.reason = name, reason


def substitute(text: str, lookup: Lookup, missing: Missing, depth: int = 0) -> str:
    """``text`` with every variable replaced. ``missing`` hears the names that have neither value nor default."""
    if "$" not in text:
        return text
    if depth > MAX_NESTING:
        raise TemplateError(f"variables nested deeper than {MAX_NESTING} levels")
    replaced: list[str] = []
    position, length, braces = 0, 0, _LastBraces(text)
    while (match := _START.search(text, position)) is not None:
        replaced.append(text[position : match.start()])
        position = match.end()
        if match["escaped"]:
            replaced.append("$")
        elif match["named"]:
            value = _plain(match["named"], lookup, missing)
            replaced.append(match[0] if isinstance(value, Kept) else value)
        else:
            end = braces.closing(match.start())
            replaced.append(_braced(text[match.end() : end], lookup, missing, depth))
            position = end + 1
        length += len(replaced[-1]) + len(replaced[-2])
        if length > MAX_RESULT:
            raise TemplateError(f"the value grows beyond {MAX_RESULT} characters")
    return "".join(replaced) + text[position:]


def _plain(name: str, lookup: Lookup, missing: Missing) -> str:
    value = lookup(name)
    if value is None:
        missing(name)
        return ""
    return value


def _braced(inner: str, lookup: Lookup, missing: Missing, depth: int) -> str:
    match = _OPERATOR.match(inner)
    if match is None:
        return _plain(inner, lookup, missing)
    name, operator, word = match.groups()
    word = substitute(word, lookup, missing, depth + 1)
    value = lookup(name)
    present = value is not None and (value != "" or not operator.startswith(":"))
    if operator.endswith("?"):
        if not present:
            raise RequiredError(name, word)
        return value or ""
    if operator.endswith("-"):
        return (value or "") if present else word
    return word if present else (value or "")


class _LastBraces:
    """Finds the brace that closes ``${``; remembers the line's last one, so that a line is searched once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._line_end = self._last = -1

    def closing(self, start: int) -> int:
        """The brace that closes the ``${`` at ``start``; the line's last one when they do not balance."""
        text = self._text
        opened = _OPENED.match(text, start + 2)
        last = self._last_of_line(start)
        if opened is None or last < opened.end():
            raise TemplateError(f"{text[start : start + 40]!r} is not a variable")
        if text[opened.end()] == "}":
            return opened.end()
        depth, index = 0, start
        while index <= last:
            if text[index] == "}":
                depth -= 1
                if depth == 0:
                    return index
            elif text[index] == "{":
                depth += 1
                index += 1
            index += 1
        return last

    def _last_of_line(self, start: int) -> int:
        if start > self._line_end:
            end = self._text.find("\n", start)
            self._line_end = len(self._text) if end < 0 else end
            self._last = self._text.rfind("}", start, self._line_end)
        return self._last
