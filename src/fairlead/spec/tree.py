"""The tree that every phase of loading reads and rewrites: plain values in containers that know their source.

A Compose file is a tree of ``Map``, ``Seq`` and scalars (``str``, ``int``, ``float``, ``bool``, ``None``,
``Timestamp``). Scalars stay plain so that comparing and merging them costs nothing; a container keeps the
position of each of its children instead. A position is ``(file, line, column)``, both counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Position = tuple[str, int, int]
Path = tuple[str, ...]

NOWHERE: Position = ("", 0, 0)


class Timestamp(str):
    """A YAML timestamp as text of RFC 3339; ``shown`` is how Go prints it inside a string."""

    shown: str


class Map(dict[str, Any]):
    """A mapping with the position of itself (``at``) and of each key (``marks``)."""

    __slots__ = ("at", "marks")

    def __init__(self, at: Position = NOWHERE) -> None:
        super().__init__()
        self.at = at
        self.marks: dict[str, Position] = {}

    def put(self, key: str, value: Any, mark: Position | None = None) -> None:
        """Set ``key`` and, when given, where it stands; without a mark the old one stays."""
        self[key] = value
        if mark is not None:
            self.marks[key] = mark

    def mark(self, key: str) -> Position:
        """Where ``key`` stands, else where the mapping does."""
        return self.marks.get(key, self.at)


class Seq(list[Any]):
    """A list with the position of itself (``at``) and of each item (``marks``, as long as the list)."""

    __slots__ = ("at", "marks")

    def __init__(self, at: Position = NOWHERE) -> None:
        super().__init__()
        self.at = at
        self.marks: list[Position] = []

    def add(self, value: Any, mark: Position | None = None) -> None:
        """Append ``value``, standing at ``mark`` or where the list does."""
        self.append(value)
        self.marks.append(self.at if mark is None else mark)

    def mark(self, index: int) -> Position:
        """Where item ``index`` stands, else where the list does."""
        return self.marks[index] if index < len(self.marks) else self.at

    def entries(self) -> Iterator[tuple[Any, Position]]:
        """Every item with its position."""
        return zip(self, self.marks, strict=True)


def map_of(entries: Iterable[tuple[str, Any]], at: Position = NOWHERE) -> Map:
    """A mapping whose keys all stand at ``at``."""
    made = Map(at)
    made.update(entries)
    return made


def position_of(value: Any, default: Position = NOWHERE) -> Position:
    """The position of a container; ``default`` for a scalar."""
    return value.at if isinstance(value, Map | Seq) else default


def clone(value: Any) -> Any:
    """A deep copy that shares nothing but positions."""
    if isinstance(value, Map):
        made = Map(value.at)
        made.marks = dict(value.marks)
        for key, item in value.items():
            made[key] = clone(item)
        return made
    if isinstance(value, Seq):
        copied = Seq(value.at)
        copied.marks = list(value.marks)
        copied.extend(clone(item) for item in value)
        return copied
    return value


def plain(value: Any) -> Any:
    """The same value in ``dict`` and ``list``, without positions."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Timestamp) else value


def dotted(path: Iterable[str]) -> str:
    """``services.api.ports[0]``: the form in which a person reads a path; list steps are ``[0]``."""
    text = ""
    for step in path:
        text += step if step.startswith("[") or not text else f".{step}"
    return text


def kind_of(value: Any) -> str:
    """The word for the type of ``value`` that error messages use."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for kind, word in ((Map, "mapping"), (Seq, "list"), (str, "string"), (int, "integer"), (float, "number")):
        if isinstance(value, kind):
            return word
    return type(value).__name__


def place(model: Any, path: Path) -> Position:
    """The position of the node at ``path``, or of the nearest one above it."""
    at: Position = model.at if isinstance(model, Map) else NOWHERE
    node = model
    for step in path:
        if isinstance(node, Map) and step in node:
            at, node = node.mark(step), node[step]
        elif isinstance(node, Seq) and step[1:-1].isdigit() and int(step[1:-1]) < len(node):
            at, node = node.mark(int(step[1:-1])), node[int(step[1:-1])]
        else:
            break
    return at
