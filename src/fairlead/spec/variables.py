"""Which variables a project asks for, and what they are without a value: ``fairlead config --variables``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

_NAMED = re.compile(r"\$(?:(\$)|([_a-zA-Z][_a-zA-Z0-9]*)|\{([_a-zA-Z][_a-zA-Z0-9]*)(:?[-+?])?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """``required``: without a value the project does not load; ``alternate``: what ``${NAME:+…}`` puts in its place."""

    name: str
    required: bool = False
    default: str = ""
    alternate: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "required": self.required,
            "default_value": self.default,
            "alternate_value": self.alternate,
        }

    def row(self) -> tuple[str, str, str, str]:
        return self.name, str(self.required).lower(), self.default, self.alternate


def variables_of(model: Any) -> list[Variable]:
    """Every variable of the tree, by name; where one is used in several ways, what is known is put together."""
    found: dict[str, Variable] = {}
    for text in _texts(model):
        for variable in _variables_in(text):
            known = found.get(variable.name, Variable(name=variable.name))
            found[variable.name] = replace(
                known,
                required=known.required or variable.required,
                default=known.default or variable.default,
                alternate=known.alternate or variable.alternate,
            )
    return [found[name] for name in sorted(found)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and "$" in value:
        yield value


def _variables_in(text: str) -> Iterator[Variable]:
    position = 0
    while match := _NAMED.search(text, position):
        position = match.end()
        escaped, named, braced, operator = match.groups()
        if escaped:
            continue
        if named or not operator:
            yield Variable(name=named or braced)
            continue
        end = _end(text, position)
        word = text[position:end]
        yield from _variables_in(word)
        position = end
        kind = operator[-1]
        yield Variable(
            name=braced,
            required=kind == "?",
            default=word if kind == "-" else "",
            alternate=word if kind == "+" else "",
        )


def _end(text: str, start: int) -> int:
    """Where the brace closes that was open before ``start``."""
    depth = 1
    for index in range(start, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return index
    return len(text)
