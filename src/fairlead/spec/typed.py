"""Give every canonical value its type and its place: the tree that ``docker compose config --format json`` prints.

Called by the loader last, on the normalized tree. A value that is not of its type is reported.
"""

from __future__ import annotations

from typing import Any

from fairlead.spec.convert import ConversionError, Converter
from fairlead.spec.records import FILE_OBJECT, MODEL, NETWORK, SERVICE, VOLUME
from fairlead.spec.report import Report
from fairlead.spec.tree import Map, Path, place


def _without_variable_content(value: Any) -> dict[str, Any]:
    """A config made of a variable is printed without the variable's value."""
    made = FILE_OBJECT(value)
    if made.get("environment"):
        made.pop("content", None)
    return made


_KINDS: dict[str, Converter] = {
    "services": SERVICE,
    "networks": NETWORK,
    "volumes": VOLUME,
    "secrets": FILE_OBJECT,
    "configs": _without_variable_content,
    "models": MODEL,
}


def with_types(model: Map, report: Report) -> dict[str, dict[str, dict[str, Any]]]:
    """Every service and resource of ``model`` with its types, by kind and name."""
    typed: dict[str, dict[str, dict[str, Any]]] = {}
    for kind, record in _KINDS.items():
        typed[kind] = {}
        for name, entry in sorted((model.get(kind) or {}).items()):
            converted = _entry(record, entry if entry is not None else Map(), (kind, name), report)
            if converted is not None:
                typed[kind][name] = converted
    return typed


def _entry(record: Converter, entry: Any, path: Path, report: Report) -> dict[str, Any] | None:
    """Convert; after an error, drop the key that is wrong and look for the next one."""
    while True:
        try:
            made: dict[str, Any] = record(entry)
            return made
        except ConversionError as error:
            at = place(entry, error.path)
            report.problem(error.message, at, (*path, *error.path), "")
            if not isinstance(entry, Map) or error.path[0] not in entry:
                return None
            del entry[error.path[0]]
