"""Read the files of a project and merge them into one canonical tree: phases three to six of loading.

Called by :mod:`fairlead.spec.load`; `extends` and `include` call back into it. For each document of each file: read →
substitute → `extends` → `!reset` → `include` → merge → drop duplicates → check shapes → canonical form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from fairlead.spec.canonical import canonicalize
from fairlead.spec.environment import fix_for_unreadable
from fairlead.spec.interpolate import interpolate
from fairlead.spec.merge import drop_duplicates, merge_trees
from fairlead.spec.normalize import check_resources, resolve_environment, set_defaults
from fairlead.spec.paths import Paths
from fairlead.spec.report import Report
from fairlead.spec.tree import NOWHERE, Map, Path
from fairlead.spec.yaml_reader import MAX_BYTES, Document, YamlError, read_documents

MAX_FILES = 1000


@dataclass(frozen=True, kw_only=True)
class Context:
    """What the files of one project (or of one `include`) have in common."""

    working_dir: str
    environment: Mapping[str, str]
    report: Report
    home: str | None = None
    stdin: str | None = None
    deferred: frozenset[str] = frozenset()
    interpolation: bool = True
    included: tuple[str, ...] = ()
    opened: list[str] = field(default_factory=list)
    """Every file that was read, for the limit and for the project's list."""
    prepared: dict[str, list[Document]] = field(default_factory=dict)
    """Documents that were read before for the project's name; each is used once."""


def load_model(files: tuple[str, ...], context: Context) -> Map:
    """All ``files`` merged, canonical, with defaults and absolute paths; problems are in the report."""
    model = Map((files[0], 1, 1) if files else NOWHERE)
    for file in files:
        for document in read(file, context):
            model = _merge_document(model, document, file, context)
    set_defaults(model)
    check_resources(model, context.report)
    Paths(context.working_dir, context.home, context.report).resolve(model)
    resolve_environment(model, context.environment)
    return model


def read(file: str, context: Context) -> list[Document]:
    """The documents of one file; what cannot be read is reported and counts as empty."""
    if file in context.prepared:
        return context.prepared.pop(file)
    context.opened.append(file)
    if len(context.opened) > MAX_FILES:
        raise YamlError(f"the project has more than {MAX_FILES} files", (file, 0, 0))
    try:
        text = _bytes_of(file, context)
    except OSError as error:
        fault = f"cannot read the file: {error.strerror or error}"
        context.report.problem(fault, (file, 0, 0), "", fix_for_unreadable(file))
        return []
    try:
        return read_documents(text, file, context.report)
    except YamlError as error:
        context.report.problem(error.message, error.at, "", error.fix)
        return []


def _bytes_of(file: str, context: Context) -> bytes:
    if file == "-":
        return (context.stdin or "").encode("utf-8", "surrogateescape")
    with FilePath(file).open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _merge_document(model: Map, document: Document, file: str, context: Context) -> Map:
    from fairlead.spec.shapes import check

    report, tree = context.report, document.root
    if not isinstance(tree, Map):
        report.problem("the file is not a mapping", (file, 1, 1), "", "start with 'services:'")
        return model
    if context.interpolation:
        interpolate(tree, context.environment, report, context.deferred)
    if _uses(tree, "extends"):
        from fairlead.spec.extends import Extender

        Extender(file, document.resets, context).apply(tree)
    for path in document.resets:
        remove(model, path)
    if tree.get("include") is not None:
        from fairlead.spec.include import include

        include(tree, replace(context, included=(*context.included, file)))
    model = merge_trees(model, tree, report)
    drop_duplicates(model)
    check(model, _schema(), (), model.at, report)
    if "version" in model:
        report.warn(f"{file}: the attribute `version` is obsolete and ignored; remove it")
        del model["version"]
    canonicalize(model, report, lenient=not context.interpolation)
    drop_duplicates(model)
    return model


def _schema() -> Any:
    from fairlead.spec.schema import COMPOSE

    return COMPOSE


def _uses(tree: Map, key: str) -> bool:
    services = tree.get("services")
    return isinstance(services, Map) and any(isinstance(entry, Map) and key in entry for entry in services.values())


def remove(tree: Any, path: Path) -> None:
    """Take the value at ``path`` out of ``tree``, if it is there."""
    node = tree
    for step in path[:-1]:
        node = node.get(step) if isinstance(node, Map) else None
    if isinstance(node, Map) and path:
        node.pop(path[-1], None)
