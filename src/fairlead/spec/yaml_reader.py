"""Read YAML as Compose does: 1.2 scalars, every node with its position, every limit enforced.

Called by the loader for each Compose file. PyYAML's C parser makes the events; composing and resolving are ours,
because Compose needs what PyYAML does not do: duplicate keys are errors, ``yes`` and ``22:22`` are strings,
``0755`` is octal, ``!reset`` and ``!override`` are instructions for the merge, anchors may be defined anew.

Limits (a file beyond them is an error, never a hang): ``MAX_BYTES`` of text, ``MAX_DEPTH`` levels, and
``MAX_NODES`` values after aliases are expanded.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fairlead.spec.report import Report
from fairlead.spec.tree import Map, Path, Position, Seq, Timestamp

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 100
MAX_NODES = 400_000
MAX_DIGITS = 100

_TAG = "tag:yaml.org,2002:"
_LITERAL: dict[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
    ".inf": float("inf"), ".Inf": float("inf"), ".INF": float("inf"),
    "+.inf": float("inf"), "+.Inf": float("inf"), "+.INF": float("inf"),
    "-.inf": float("-inf"), "-.Inf": float("-inf"), "-.INF": float("-inf"),
}  # fmt: skip
_NUMBER_START = frozenset("0123456789+-.")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", re.ASCII)
_INTEGER = re.compile(r"([-+]?)(?:(0[xX][0-9a-fA-F]+)|(0[bB][01]+)|(0[oO]?[0-7]+)|(0|[1-9][0-9]*))\Z", re.ASCII)
_TIMESTAMP = r"(\d{4})-(\d{1,2})-(\d{1,2})(?:([Tt ])(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d+))?(Z|[-+]\d\d:\d\d)?)?\Z"


class YamlError(Exception):
    """The text is not YAML, or beyond a limit; carries the place and the fix."""

    def __init__(self, message: str, at: Position, fix: str = "") -> None:
        super().__init__(message)
        self.message, self.at, self.fix = message, at, fix


class Document(NamedTuple):
    """One YAML document: its tree, and the paths that ``!reset`` and ``!override`` name."""

    root: Any
    resets: tuple[Path, ...]


def read_documents(text: bytes, file: str, report: Report) -> list[Document]:
    """All documents of ``text``. Duplicate and non-string keys go to ``report``; broken YAML raises."""
    if len(text) > MAX_BYTES:
        size = f"{len(text) / 1024 / 1024:.0f} MiB"
        raise YamlError(
            f"the file has {size}; a Compose file has at most {MAX_BYTES // 1024 // 1024} MiB", (file, 0, 0)
        )
    return _Composer(text, file, report).documents()


class _Composer:
    def __init__(self, text: bytes, file: str, report: Report) -> None:
        import yaml
        from yaml._yaml import CParser

        self._next: Callable[[], Any] = CParser(text).get_event
        self._yaml_error = yaml.YAMLError
        self._scalar, self._alias = yaml.ScalarEvent, yaml.AliasEvent
        self._sequence, self._sequence_end = yaml.SequenceStartEvent, yaml.SequenceEndEvent
        self._mapping_end = yaml.MappingEndEvent
        self._file, self._report = file, report
        self._anchors: dict[str, Any] = {}
        self._open_anchors: set[str] = set()
        self._resets: list[Path] = []
        self._nodes = 0

    def documents(self) -> list[Document]:
        try:
            return self._documents()
        except self._yaml_error as error:
            raise self._translated(error) from None
        except UnicodeDecodeError as error:
            raise YamlError(f"the file is not UTF-8 text: {error.reason}", (self._file, 0, 0)) from None

    def _documents(self) -> list[Document]:
        import yaml

        found: list[Document] = []
        while (event := self._next()) is not None:
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors, self._resets = {}, []
                root = self._node(self._next(), (), True)
                found.append(Document(None if root is _DROPPED else root, tuple(self._resets)))
        return found

    def _translated(self, error: Any) -> YamlError:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        at = (self._file, mark.line + 1, mark.column + 1) if mark else (self._file, 0, 0)
        words = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
        return YamlError(f"not valid YAML: {words}", at, _yaml_fix(str(words)))

    def _node(self, event: Any, path: Path, live: bool) -> Any:
        """The value of one node; ``live`` is false below ``!override``, where tags instruct nothing more."""
        kind = type(event)
        if kind is self._scalar and event.tag is None:
            self._count(event)
            value = resolve_plain(event.value) if event.implicit[0] else event.value
            if event.anchor:
                self._anchors[event.anchor] = value
            return value
        if kind is self._alias:
            return self._aliased(event, path, live)
        self._count(event)
        if live and event.tag in ("!reset", "!override"):
            self._resets.append(path)
            value = self._content(event, path, False)
            if event.tag == "!reset":
                value = _DROPPED
        else:
            value = self._content(event, path, live)
        if event.anchor:
            self._anchors[event.anchor] = value
        return value

    def _content(self, event: Any, path: Path, live: bool) -> Any:
        if isinstance(event, self._scalar):
            return self._scalar_value(event)
        if len(path) > MAX_DEPTH:
            raise YamlError(f"nested deeper than {MAX_DEPTH} levels", self._at(event))
        if event.anchor:
            self._open_anchors.add(event.anchor)
        value = self._list(event, path, live) if isinstance(event, self._sequence) else self._map(event, path, live)
        self._open_anchors.discard(event.anchor)
        return value

    def _list(self, start: Any, path: Path, live: bool) -> Seq:
        made = Seq(self._at(start))
        while not isinstance(event := self._next(), self._sequence_end):
            value = self._node(event, (*path, str(len(made))), live)
            if value is not _DROPPED:
                made.add(value, self._at(event))
        return made

    def _map(self, start: Any, path: Path, live: bool) -> Map:
        made = Map(self._at(start))
        merges: list[tuple[Any, Position]] = []
        seen: dict[str, Position] = {}
        while not isinstance(event := self._next(), self._mapping_end):
            at = self._at(event)
            key = self._key(event, path, at)
            if key in seen:
                self._report.problem(
                    f"the key {key!r} is already defined in line {seen[key][1]}",
                    at,
                    (*path, key),
                    "keep one of the two",
                )
            seen[key] = at
            if key == "<<" and (event.implicit[0] or event.tag == f"{_TAG}merge"):
                merges.append((self._node(self._next(), path, live), at))
                continue
            value = self._node(self._next(), (*path, key), live)
            if value is not _DROPPED:
                made.put(key, value, at)
        for value, at in merges:
            self._merge(made, value, at, path, seen)
        return made

    def _key(self, event: Any, path: Path, at: Position) -> str:
        if isinstance(event, self._scalar):
            value = self._scalar_value(event)
            if event.anchor:
                self._anchors[event.anchor] = value
        else:
            value = self._node(event, path, False)
        if not isinstance(value, str) or isinstance(value, Timestamp):
            shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            self._report.problem(
                f"the key {shown} is not a string", at, (*path, shown[:80]), f'write it in quotes: "{shown[:80]}"'
            )
            return shown
        return str(value)

    def _merge(self, made: Map, value: Any, at: Position, path: Path, own: dict[str, Position]) -> None:
        """``<<``: keys of the mapping itself win, then those of earlier entries of the list."""
        sources = value if isinstance(value, Seq) else [value]
        for source in sources:
            if not isinstance(source, Map):
                self._report.problem(
                    "'<<' merges a mapping or a list of mappings", at, (*path, "<<"), "give it an alias of a mapping"
                )
                return
            for key, item in source.items():
                if key not in made and key not in own:
                    made.put(key, item, source.mark(key))

    def _aliased(self, event: Any, path: Path, live: bool) -> Any:
        if event.anchor not in self._anchors:
            inside = event.anchor in self._open_anchors
            words = (
                f"the alias *{event.anchor} stands inside its own anchor"
                if inside
                else f"unknown anchor {event.anchor!r}"
            )
            raise YamlError(words, self._at(event), "define the anchor with & before it is used with *")
        value = self._anchors[event.anchor]
        if value is _DROPPED and live:
            self._resets.append(path)
        return self._copy(value, event)

    def _copy(self, value: Any, event: Any) -> Any:
        """Aliases become copies, because later phases change values in place; every copied node counts."""
        if isinstance(value, Map):
            made = Map(value.at)
            made.marks = dict(value.marks)
            for key, item in value.items():
                made[key] = self._copy(item, event)
            self._count(event)
            return made
        if isinstance(value, Seq):
            copied = Seq(value.at)
            for item, at in value.entries():
                copied.add(self._copy(item, event), at)
            self._count(event)
            return copied
        self._count(event)
        return value

    def _count(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise YamlError(f"the file has more than {MAX_NODES} values when its aliases are expanded", self._at(event))

    def _at(self, event: Any) -> Position:
        mark = event.start_mark
        return (self._file, mark.line + 1, mark.column + 1)

    def _scalar_value(self, event: Any) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            return resolve_plain(event.value) if event.implicit[0] and tag is None else event.value
        if not tag.startswith(_TAG):
            return event.value
        return self._tagged(tag[len(_TAG) :], event)

    def _tagged(self, kind: str, event: Any) -> Any:
        text: str = event.value
        if kind == "str":
            return text
        if kind == "binary":
            import base64
            import binascii

            try:
                return base64.b64decode(text, validate=False).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                raise YamlError("!!binary is not base64", self._at(event)) from None
        value = resolve_plain(text)
        kinds: dict[str, tuple[type, ...]] = {
            "int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),), "timestamp": (Timestamp,),
        }  # fmt: skip
        if kind in kinds and not isinstance(value, kinds[kind]):
            raise YamlError(f"{text!r} is not a !!{kind}", self._at(event))
        return float(value) if kind == "float" else value


class _Dropped:
    """What ``!reset`` leaves of a node: nothing, so that its key disappears."""


_DROPPED = _Dropped()


def resolve_plain(text: str) -> Any:
    """The value of an unquoted scalar, by the rules that Compose's YAML library applies."""
    if text in _LITERAL:
        return _LITERAL[text]
    if text[0] not in _NUMBER_START:
        return text
    if len(text) > 7 and text[4] == "-" and (stamp := re.match(_TIMESTAMP, text, re.ASCII)):
        return _timestamp(stamp) or text
    if len(text) > MAX_DIGITS:
        return float(text) if _FLOAT.match(text) else text
    digits = text.replace("_", "") if "_" in text else text
    if match := _INTEGER.match(digits):
        return _integer(digits, match)
    if _FLOAT.match(digits):
        return float(digits)
    return text


def _integer(digits: str, match: re.Match[str]) -> Any:
    sign, hexadecimal, binary, octal, decimal = match.groups()
    value = int(octal.lstrip("0").lstrip("oO") or "0", 8) if octal else int(hexadecimal or binary or decimal, 0)
    value = -value if sign == "-" else value
    return value if -(2**63) <= value < 2**64 else float(digits) if decimal else digits


def _timestamp(match: re.Match[str]) -> Timestamp | None:
    """The moment; None when the date or the time does not exist, or its form is not one of Compose's library."""
    from datetime import datetime

    year, month, day, separator, hour, minute, second, fraction, zone = match.groups()
    if separator and (separator == " ") == bool(zone):
        return None
    try:
        moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))  # noqa: DTZ001
    except ValueError:
        return None
    decimals = (fraction or "")[:9].rstrip("0")
    decimals = f".{decimals}" if decimals else ""
    zone = zone or "Z"
    stamp = Timestamp(f"{moment:%Y-%m-%dT%H:%M:%S}{decimals}{'Z' if zone == '+00:00' else zone}")
    offset = "+0000 UTC" if zone in ("Z", "+00:00") else f"{zone.replace(':', '')} {zone.replace(':', '')}"
    stamp.shown = f"{moment:%Y-%m-%d %H:%M:%S}{decimals} {offset}"
    return stamp


def _yaml_fix(words: str) -> str:
    if "character that cannot start any token" in words:
        return "indent with spaces, not tabs, and put values that start with @, ` or % in quotes"
    if "mapping values are not allowed" in words:
        return "check the indentation, and put a value that contains ': ' in quotes"
    if "did not find expected" in words or "could not find expected" in words:
        return "check the indentation and the quotes of this line and of the one above"
    return ""
