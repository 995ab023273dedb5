"""What `up` and `plan` ask for: the file, read for the engine that will run it, and what that engine makes of it.

Called by those two verbs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fairlead.api.client import Client
from fairlead.capabilities import EngineCapabilities
from fairlead.cli.engine_choice import chosen_engine
from fairlead.cli.output import note
from fairlead.cli.paint import Tone, paint
from fairlead.cli.preflight import capabilities_of
from fairlead.cli.project_options import load_options
from fairlead.cli.selection import name_of
from fairlead.cli.session import Session
from fairlead.controller.controls import UpRequest
from fairlead.errors import NotFoundError, UsageError
from fairlead.plan.preflight import Finding, table
from fairlead.settings import ENGINES
from fairlead.spec.environment import LoadOptions
from fairlead.spec.load import load
from fairlead.spec.model import Project
from fairlead.spec.report import unknown_service

DEFAULT_ENGINE = "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line says beside the options of the files."""

    engine: str | None
    scale: Mapping[str, int]
    force_recreate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """A request, and the treatment of every key of its file by the engine."""

    request: UpRequest
    capabilities: EngineCapabilities
    findings: Sequence[Finding]


def desired(session: Session, wish: Wish) -> Desired:
    """Read the files of the running verb's options for the engine that will run them.

    :raises SpecError: the file is wrong; every problem of it.
    :raises UsageError: the engine that the file names does not exist.
    :raises NotFoundError: a service to scale does not.
    :raises RefusedError: there is no such engine here.
    """
    options = load_options()
    said = wish.engine or session.settings.engine
    running = _running_engine(session.running(), options) if said is None else None
    # The engine decides how the file is read, and the file may name the engine: a guess first, then the truth.
    guessed = said or running or DEFAULT_ENGINE
    project = load(_for_engine(options, guessed))
    engine = said or _written_engine(project) or running or chosen_engine(project, options.environment)
    if _deferred(engine) != _deferred(guessed):
        project = load(_for_engine(options, engine))
    _check_scale(project, wish.scale)
    for warning in project.warnings:
        note(f"{paint('warning:', Tone.WARN)} {warning}")
    capabilities = capabilities_of(engine)
    request = UpRequest(project=project, engine=engine, force_recreate=wish.force_recreate, scale=wish.scale)
    return Desired(request=request, capabilities=capabilities, findings=table(project, capabilities))


def _for_engine(options: LoadOptions, engine: str) -> LoadOptions:
    return replace(options, deferred_variables=_deferred(engine))


def _deferred(engine: str) -> frozenset[str]:
    return frozenset(name for name in capabilities_of(engine).deferred_variables if not name.endswith("*"))


def _running_engine(client: Client | None, options: LoadOptions) -> str | None:
    name = name_of(options)
    statuses = client.projects() if client else ()
    return next((status.engine for status in statuses if status.name == name), None)


def _written_engine(project: Project) -> str | None:
    """`x-fairlead.engine` of the file."""
    options = project.extensions.get("x-fairlead")
    engine = options.get("engine") if isinstance(options, Mapping) else None
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"x-fairlead.engine: {engine!r} is no engine", hint=f"it is one of {', '.join(ENGINES)}")
    return engine


def _check_scale(project: Project, scale: Mapping[str, int]) -> None:
    for service in scale:
        if service in project.unselected:
            raise NotFoundError(
                f"{project.name} has the service {service!r} in a profile alone that is not enabled",
                hint="enable it with --profile NAME; `fairlead config --profiles` lists them",
            )
        if service not in project.services:
            raise unknown_service(project.name, service, project.services)
