"""What a value may look like, and the walk that checks a tree against it.

The tables of :mod:`fairlead.spec.schema` are made of :class:`Shape`; the loader checks the merged tree of every file
with :func:`check`. A wrong value is reported with what was expected and the fix, and removed, so that the phases that
follow can look for further problems without falling over it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from fairlead.spec.report import Report, suggestion
from fairlead.spec.tree import Map, Path, Position, Seq, dotted, kind_of

_NAME = re.compile(r"[a-zA-Z0-9._-]+\Z")
_ARTICLE = {"integer": "an integer", "null": "nothing"}


class Shape:
    """The kinds that a value may have, and what each kind may hold.

    ``fields``, ``values``, ``required``, ``extensible`` (``x-`` keys) and ``named`` (keys must be names) speak of
    mappings; ``item`` and ``unique`` of lists; ``choices``, ``low``, ``high`` and ``duration`` (text such as `30s`) of
    scalars.
    """

    __slots__ = (
        "choices",
        "duration",
        "extensible",
        "fields",
        "high",
        "item",
        "kinds",
        "low",
        "named",
        "required",
        "unique",
        "values",
    )

    def __init__(
        self,
        kinds: str,
        *,
        fields: Mapping[str, Shape] | None = None,
        values: Shape | None = None,
        required: tuple[str, ...] = (),
        extensible: bool = False,
        named: bool = False,
        item: Shape | None = None,
        unique: bool = False,
        choices: tuple[str, ...] = (),
        low: float = -math.inf,
        high: float = math.inf,
        duration: bool = False,
    ) -> None:
        self.kinds = tuple(kinds.split())
        self.fields, self.values, self.required = fields, values, required
        self.extensible, self.named = extensible, named
        self.item, self.unique = item, unique
        self.choices, self.low, self.high, self.duration = choices, low, high, duration

    def allows(self, value: Any) -> bool:
        """Whether ``value`` is of one of the kinds; an integer is a number, ``1.0`` is an integer."""
        kind = kind_of(value)
        if kind in self.kinds or (kind == "integer" and "number" in self.kinds):
            return not (kind == "number" and not math.isfinite(value))
        return kind == "number" and "integer" in self.kinds and math.isfinite(value) and value == int(value)

    def expected(self) -> str:
        """``a string or a list``."""
        words = [_ARTICLE.get(kind, f"a {kind}") for kind in self.kinds if kind != "null" or len(self.kinds) == 1]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def check(value: Any, shape: Shape, path: Path, at: Position, report: Report) -> bool:
    """Whether ``value`` fits; what does not fit below it is reported and removed."""
    if not shape.allows(value):
        report.problem(f"expected {shape.expected()}, found {_found(value)}", at, path, _kind_fix(value, shape))
        return False
    if isinstance(value, Map):
        return _check_map(value, shape, path, report)
    if isinstance(value, Seq):
        return _check_list(value, shape, path, report)
    return _check_scalar(value, shape, path, at, report)


def _check_scalar(value: Any, shape: Shape, path: Path, at: Position, report: Report) -> bool:
    if shape.choices and isinstance(value, str) and value not in shape.choices:
        fix = suggestion(value, shape.choices) or f"write one of {', '.join(shape.choices)}"
        report.problem(f"{value!r} is not one of {', '.join(shape.choices)}", at, path, fix)
        return False
    if isinstance(value, int | float) and not shape.low <= value <= shape.high:
        bounds = f"between {shape.low:g} and {shape.high:g}" if math.isfinite(shape.high) else f"{shape.low:g} or more"
        report.problem(f"{value} is not {bounds}", at, path, f"write a number {bounds}")
        return False
    return True


def _check_map(value: Map, shape: Shape, path: Path, report: Report) -> bool:
    fields, values = shape.fields, shape.values
    wrong: list[str] = []
    for key, item in value.items():
        below = fields.get(key) if fields is not None else None
        if below is None:
            if shape.extensible and key.startswith("x-"):
                continue
            below = values
            if not _check_key(key, shape, path, value, report):
                wrong.append(key)
                continue
        if below is not None and not check(item, below, (*path, key), value.mark(key), report):
            wrong.append(key)
    missing = [key for key in shape.required if key not in value]
    for key in missing:
        report.problem(f"the key {key!r} is missing", value.at, (*path, key), f"add {key!r}")
    for key in wrong:
        del value[key]
    return not missing and not any(key in shape.required for key in wrong)


def _check_key(key: str, shape: Shape, path: Path, value: Map, report: Report) -> bool:
    if shape.named and not _NAME.match(key):
        report.problem(
            f"{key!r} is not a valid name", value.mark(key), (*path, key), "use letters, digits, '.', '_' and '-' only"
        )
        return False
    if shape.values is not None or shape.fields is None:
        return True
    if report.full:
        return False
    where = f"in {dotted(path)}" if path else "at the top of the file"
    known = ", ".join(sorted(shape.fields))
    fix = suggestion(key, shape.fields) or (f"known keys: {known}" if len(known) < 200 else "remove it, or name it x-…")
    report.problem(f"unknown key {key!r} {where}", value.mark(key), (*path, key), fix)
    return False


def _check_list(value: Seq, shape: Shape, path: Path, report: Report) -> bool:
    if shape.item is not None:
        wrong = [
            index
            for index, item in enumerate(value)
            if not check(item, shape.item, (*path, f"[{index}]"), value.mark(index), report)
        ]
        for index in reversed(wrong):
            del value[index], value.marks[index]
    if shape.unique and len(value) > 1:
        seen: dict[str, int] = {}
        for index, item in enumerate(value):
            identity = json.dumps(item, sort_keys=True)
            if seen.setdefault(identity, index) != index:
                line = value.mark(seen[identity])[1]
                report.problem(
                    f"{_found(item)} is already in the list (line {line})",
                    value.mark(index),
                    (*path, f"[{index}]"),
                    "remove one of the two",
                )
    return True


def _found(value: Any) -> str:
    kind = kind_of(value)
    if kind in ("mapping", "list", "null"):
        return "nothing" if kind == "null" else f"a {kind}"
    text = json.dumps(value) if not isinstance(value, str) else repr(value[:60])
    return f"{_ARTICLE.get(kind, f'a {kind}')} ({text})" if kind != "string" else text


def _kind_fix(value: Any, shape: Shape) -> str:
    if shape.duration and isinstance(value, int | float) and not isinstance(value, bool):
        return f"write it with its unit: {value}s"
    if isinstance(value, float) and "integer" in shape.kinds:
        return "write an integer"
    if isinstance(value, bool | int | float) and "string" in shape.kinds:
        return f'write it in quotes: "{json.dumps(value)}"'
    if value is None:
        return f"give it {shape.expected()}, or remove the key"
    if isinstance(value, str) and "list" in shape.kinds:
        return f'write a list: ["{value[:60]}"]' if len(value) < 60 else "write a list"
    if isinstance(value, Map) and "list" in shape.kinds and "mapping" not in shape.kinds:
        return "start each entry with '- '"
    return f"write {shape.expected()}"
