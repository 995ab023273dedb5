"""Load Compose text in the tests of `spec`: the canonical tree, one service of it, or the problems."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from fairlead.errors import Problem, SpecError
from fairlead.spec.load import LoadOptions, Tree, load, load_tree
from fairlead.spec.model import Project

HOME = "/home/test"


class Folder:
    """A project folder with the given files; ``compose.yaml`` is the main one."""

    def __init__(self, path: Path, files: Mapping[str, str]) -> None:
        self.path = path
        for name, text in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(dedent(text))

    def options(self, **options: Any) -> LoadOptions:
        environment = {"HOME": HOME, **options.pop("environment", {})}
        return LoadOptions(environment=environment, cwd=str(self.path), **{"project_name": "p", **options})

    def tree(self, **options: Any) -> Tree:
        return load_tree(self.options(**options))

    def project(self, **options: Any) -> Project:
        return load(self.options(**options))


def project(text: str, files: Mapping[str, str] | None = None, **options: Any) -> Project:
    """The typed project of one file, and of others beside it."""
    with tempfile.TemporaryDirectory() as folder:
        return Folder(Path(folder), {"compose.yaml": text, **(files or {})}).project(**options)


def tree(text: str, files: Mapping[str, str] | None = None, **options: Any) -> dict[str, Any]:
    """The canonical tree; the folder's path is written ``/project``."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = Folder(Path(folder), {"compose.yaml": text, **(files or {})}).tree(**options)
        return _without(str(Path(folder)), loaded.canonical)  # type: ignore[no-any-return]


def service(attributes: str, rest: str = "", **options: Any) -> dict[str, Any]:
    """The canonical service ``a`` with these attributes; ``image: x`` is given unless they give it."""
    body = "".join(f"    {line}\n" for line in dedent(attributes).strip("\n").split("\n"))
    image = "" if re.match(r"\s*(image|build):", attributes) else "    image: x\n"
    text = f"services:\n  a:\n{image}{body}  b:\n    image: y\n{dedent(rest)}"
    return tree(text, **options)["services"]["a"]  # type: ignore[no-any-return]


def problems(text: str, files: Mapping[str, str] | None = None, **options: Any) -> list[Problem]:
    """What is wrong with the file; at least one thing is."""
    with tempfile.TemporaryDirectory() as folder, pytest.raises(SpecError) as caught:
        Folder(Path(folder), {"compose.yaml": text, **(files or {})}).tree(**options)
    return list(caught.value.problems)


def problem(attributes: str, rest: str = "", **options: Any) -> Problem:
    """The only problem of a service ``a`` with these attributes."""
    body = "".join(f"    {line}\n" for line in dedent(attributes).strip("\n").split("\n"))
    found = problems(f"services:\n  a:\n    image: x\n{body}  b:\n    image: y\n{dedent(rest)}", **options)
    assert len(found) == 1, [str(one) for one in found]
    return found[0]


def _without(folder: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(folder, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without(folder, item) for item in value]
    return value.replace(folder, "/project") if isinstance(value, str) else value
