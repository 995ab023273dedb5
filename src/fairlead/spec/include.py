"""`include`: whole projects beside this one, each with its own folder and variables.

Called by the loader on the substituted tree of one document. An included project is loaded through all phases; its
services and resources then join those of the file, where two of the same name must be equal.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from fairlead.spec.environment import absolute, read_env_files
from fairlead.spec.tree import Map, Position, Seq

if TYPE_CHECKING:
    from fairlead.spec.loader import Context

KINDS = ("services", "volumes", "networks", "secrets", "configs", "models")


MAX_INCLUDES = 30


def include(tree: Map, context: Context) -> None:
    """Load what ``tree`` includes, into ``tree``; the key itself goes."""
    entries = tree["include"]
    at = tree.mark("include")
    if isinstance(entries, Seq):
        for index, (entry, mark) in enumerate(entries.entries()):
            _include_one(tree, entry, mark, ("include", f"[{index}]"), context)
    else:
        context.report.problem("`include` must be a list", at, ("include",), "write '- path/to/compose.yaml'")
    del tree["include"]


def _include_one(tree: Map, entry: Any, at: Position, path: tuple[str, ...], context: Context) -> None:
    from fairlead.spec.loader import load_model

    files, folder, env_files = _parts(entry, context)
    if not files:
        context.report.problem("expected the path of a Compose file", at, path, "write '- path/to/compose.yaml'")
        return
    if any("://" in file or file.startswith("git@") for file in files):
        context.report.problem(
            "fetching a remote project is not supported", at, path, "download it, and include the local file"
        )
        return
    main = absolute(context.working_dir, files[0])
    if main in context.included:
        circle = " → ".join([*context.included, main])
        context.report.problem(f"the files include each other in a circle: {circle}", at, path, "break the circle")
        return
    if len(context.included) > MAX_INCLUDES:
        context.report.problem(f"more than {MAX_INCLUDES} levels of include", at, path, "include fewer levels")
        return
    folder = absolute(context.working_dir, folder) if folder else str(FilePath(main).parent)
    environment = _environment(env_files, folder, context)
    below = replace(context, working_dir=folder, environment=environment)
    # an include counts its paths from this project's folder, the included project from its own
    imported = load_model(tuple(absolute(context.working_dir, file) for file in files), below)
    for kind in KINDS:
        _join(tree, imported, kind, at, context)


def _parts(entry: Any, context: Context) -> tuple[list[str], str, list[str] | None]:
    if isinstance(entry, str):
        return [entry], "", None
    if not isinstance(entry, Map):
        return [], "", None
    folder = entry.get("project_directory")
    env_files = _texts(entry.get("env_file"))
    return _texts(entry.get("path")), folder if isinstance(folder, str) else "", env_files or None


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str)] if isinstance(value, Seq) else []


def _environment(env_files: list[str] | None, folder: str, context: Context) -> dict[str, str]:
    if env_files is None:
        default = FilePath(folder, ".env")
        files = [str(default)] if default.is_file() else []
    else:
        files = [absolute(context.working_dir, file) for file in env_files]
    return read_env_files(files, context.environment, context.report) | dict(context.environment)


def _join(tree: Map, imported: Map, kind: str, at: Position, context: Context) -> None:
    found = imported.get(kind)
    if not isinstance(found, Map):
        return
    known = tree.get(kind)
    if not isinstance(known, Map):
        known = Map(found.at)
        tree.put(kind, known, at)
    for name, entry in found.items():
        if name not in known:
            known.put(name, entry, found.mark(name))
        elif known[name] != entry:
            file, line, _ = found.mark(name)
            context.report.problem(
                f"{name!r} is also defined in {file}:{line}, which is included, and the two differ",
                known.mark(name),
                (kind, name),
                "rename one of the two, or override it in a compose.override.yaml beside the included file",
            )
