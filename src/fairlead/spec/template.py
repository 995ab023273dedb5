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
_PATTERN = re.compile(
    rf"\$(?:(?P<escaped>\$)|(?P<named>{_NAME})|\{{(?:(?P<braced>{_NAME}(?::?[-+?](.*))?)\}}|(?P<broken>)))"
)
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
    rest = text
    while rest:
        match = _PATTERN.search(rest)
        if match is None:
            break
        replaced.append(rest[: match.start()])
        if match["broken"] is not None:
            raise TemplateError(f"{rest[match.start() :][:40]!r} is not a variable")
        if match["escaped"]:
            replaced.append("$")
            rest = rest[match.end() :]
        elif match["named"]:
            value = _plain(match["named"], lookup, missing)
            replaced.append(match[0] if isinstance(value, Kept) else value)
            rest = rest[match.end() :]
        else:
            end = _closing_brace(rest, match.start(), match.end())
            inner = rest[match.start() + 2 : end]
            replaced.append(_braced(inner, lookup, missing, depth))
            rest = rest[end + 1 :]
        if sum(map(len, replaced)) > MAX_RESULT:
            raise TemplateError(f"the value grows beyond {MAX_RESULT} characters")
    return "".join(replaced) + rest


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


def _closing_brace(text: str, start: int, limit: int) -> int:
    """The brace that closes ``${`` at ``start``; the last one of the match when they do not balance."""
    depth, index = 0, start
    while index < limit:
        if text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
        elif text[index] == "{":
            depth += 1
            index += 1
        index += 1
    return limit - 1
