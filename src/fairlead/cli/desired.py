"""What `up` and `plan` ask for: the file, read for the engine that will run it, and what that engine makes of it.

Called by those two verbs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead.api.client import Client
from fairlead.cli.session import Session
from fairlead.controller.controls import UpRequest
from fairlead.errors import UsageError
from fairlead.settings import ENGINES
from fairlead.spec.environment import LoadOptions
from fairlead.spec.load import load
from fairlead.spec.model import Project

DEFAULT_ENGINE = "process"
_ENGINES_THAT_DEFER = ("process",)
_DEFERRED = frozenset({"PORT"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says."""

    files: Sequence[str] = ()
    project: str | None = None
    engine: str | None = None
    scale: Mapping[str, int]
    force_recreate: bool = False


def request_of(session: Session, wish: Wish, client: Client | None) -> UpRequest:
    """The request for `up`; ``client`` is asked which engine the project has, where there is a controller.

    :raises SpecError: the file is wrong; every problem of it.
    :raises UsageError: the engine or a service to scale does not exist.
    """
    stdin = sys.stdin.read() if "-" in wish.files else None
    running = _running_engine(client, session.name_or_none(wish.project, wish.files))
    guessed = wish.engine or session.settings.engine or running or DEFAULT_ENGINE
    project = _loaded(wish, guessed, stdin)
    engine = wish.engine or session.settings.engine or _written_engine(project) or running or DEFAULT_ENGINE
    if _defers(engine) != _defers(guessed):
        project = _loaded(wish, engine, stdin)
    for service in wish.scale:
        if service not in project.services:
            known = ", ".join(sorted(project.services))
            raise UsageError(f"--scale {service}: there is no such service", hint=f"the file has {known}")
    return UpRequest(project=project, engine=engine, force_recreate=wish.force_recreate, scale=wish.scale)


def _loaded(wish: Wish, engine: str, stdin: str | None) -> Project:
    options = LoadOptions(
        files=tuple(wish.files),
        project_name=wish.project,
        environment=dict(os.environ),
        cwd=str(Path.cwd()),
        stdin=stdin,
        deferred_variables=_DEFERRED if _defers(engine) else frozenset(),
    )
    return load(options)


def _defers(engine: str) -> bool:
    return engine in _ENGINES_THAT_DEFER


def _running_engine(client: Client | None, name: str | None) -> str | None:
    statuses = client.projects() if client else ()
    return next((status.engine for status in statuses if status.name == name), None)


def _written_engine(project: Project) -> str | None:
    options = project.extensions.get("x-fairlead")
    engine = options.get("engine") if isinstance(options, Mapping) else None
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"x-fairlead.engine: {engine!r} is no engine", hint=f"it is one of {', '.join(ENGINES)}")
    return engine
