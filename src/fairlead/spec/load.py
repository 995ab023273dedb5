"""Load a project: the entry of `spec`, called by the CLI and by the tests.

:func:`load` gives the typed :class:`Project`; :func:`load_tree` stops one step earlier, at the canonical tree that
``fairlead config`` prints. Both raise one :class:`SpecError` with every problem of every file. Only files are read
here: the environment and the working directory come with :class:`LoadOptions`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fairlead.spec.consistency import Consistency
from fairlead.spec.environment import LoadOptions, Sources, find_sources, normalized_name, unset_warning
from fairlead.spec.loader import Context, load_model, read
from fairlead.spec.normalize import CONTENT, normalize
from fairlead.spec.report import Report
from fairlead.spec.select import Typed, disabled_services, read_files_of, used_resources, with_dependencies
from fairlead.spec.template import RequiredError, TemplateError, substitute
from fairlead.spec.tree import NOWHERE, Map, place, plain
from fairlead.spec.typed import with_types
from fairlead.spec.yaml_reader import YamlError

if TYPE_CHECKING:
    from fairlead.spec.model import Project

__all__ = ["LoadOptions", "Tree", "load", "load_model_tree", "load_tree"]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A loaded project before it becomes typed values.

    ``canonical`` is what ``docker compose config --format json`` prints; ``all_services`` has the services that no
    profile selects too; ``model`` is the merged tree with the positions.
    """

    name: str
    working_dir: str
    files: tuple[str, ...]
    canonical: dict[str, Any]
    all_services: Mapping[str, Mapping[str, Any]]
    model: Map
    warnings: tuple[str, ...]


def load(options: LoadOptions) -> Project:
    """The project that the files describe; :class:`SpecError` with all problems when they are wrong."""
    from fairlead.spec.build_project import project_of

    return project_of(load_tree(options))


def load_tree(options: LoadOptions, services: Sequence[str] = (), *, environment_files: bool = True) -> Tree:
    """The canonical tree; of ``services`` and what they depend on, when some are named."""
    with _collector_paused():
        return _load_tree(options, services, environment_files)


def _load_tree(options: LoadOptions, services: Sequence[str], environment_files: bool) -> Tree:
    report = Report()
    name, sources, context = _prepare(options, report)
    model = _guarded(sources, context)
    if not model and not report.problems:
        report.problem("the Compose file is empty", (sources.files[0], 0, 0), "", "start with 'services:'")
    normalize(model, name, context.environment)
    _check_options(model, report)
    typed = with_types(model, report)
    profiles = [*sources.profiles, *_profiles_of(services, typed["services"])]
    disabled = disabled_services(typed["services"], profiles)
    Consistency(typed, disabled, model, report).check()
    enabled = {key: entry for key, entry in typed["services"].items() if key not in disabled}
    for key, service in enabled.items():
        _align_replicas(service)
        if environment_files:
            read_files_of(service, key, context.environment, model, report)
            service.pop("env_file", None)
    report.check()
    selected = _selected(name, enabled, services)
    return Tree(
        name=name,
        working_dir=sources.working_dir,
        files=tuple(dict.fromkeys(file for file in sources.files)),
        canonical=_canonical(name, typed, enabled, selected, model),
        all_services=typed["services"],
        model=model,
        warnings=report.warnings,
    )


@contextmanager
def _collector_paused() -> Iterator[None]:
    """A tree is many small objects and no garbage: collecting while it grows costs a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_model_tree(options: LoadOptions) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The merged tree without substitution (``fairlead config --no-interpolate``), and the warnings."""
    report = Report()
    name, sources, context = _prepare(options, report, interpolation=False)
    model = _guarded(sources, context)
    normalize(model, name, context.environment)
    report.check()
    for secret in (model.get("secrets") or {}).values():
        secret.pop(CONTENT, None)
    for config in (model.get("configs") or {}).values():
        if "environment" in config:
            config.pop("content", None)
    return plain(model), report.warnings


def _prepare(options: LoadOptions, report: Report, *, interpolation: bool = True) -> tuple[str, Sources, Context]:
    """The sources, the project's name, and the context in which its files are read."""
    sources = find_sources(options, report)
    report.check()
    assert sources is not None, "without files the report has a problem"
    environment = dict(sources.environment)
    context = Context(
        working_dir=sources.working_dir,
        environment=environment,
        report=report,
        home=options.environment.get("HOME") or None,
        stdin=options.stdin,
        deferred=options.deferred_variables,
        interpolation=interpolation,
    )
    for file in sources.files:
        documents = read(file, context)
        context.prepared[file] = documents
    name = _project_name(options, sources, context)
    environment["COMPOSE_PROJECT_NAME"] = name
    return name, sources, context


def _guarded(sources: Sources, context: Context) -> Map:
    try:
        return load_model(sources.files, context)
    except YamlError as error:
        context.report.problem(error.message, error.at, "", error.fix)
        return Map()


def _project_name(options: LoadOptions, sources: Sources, context: Context) -> str:
    """``-p``, then COMPOSE_PROJECT_NAME, then the top-level `name`, then the folder's name."""
    report = context.report
    chosen = options.project_name or sources.environment.get("COMPOSE_PROJECT_NAME", "")
    if chosen:
        if normalized_name(chosen) != chosen:
            report.problem(
                f"{chosen!r} is no project name: lower case letters, digits, '-' and '_', a letter or digit first",
                NOWHERE,
                "",
                f"use {normalized_name(chosen) or 'another name'}",
            )
        return chosen
    for file in reversed(sources.files):
        for document in reversed(context.prepared.get(file, [])):
            value = document.root.get("name") if isinstance(document.root, Map) else None
            if isinstance(value, str) and value:
                return _named_in_file(value, document.root.mark("name"), sources, context)
    name = normalized_name(sources.working_dir.rstrip("/").rpartition("/")[2])
    if not name:
        report.problem("the folder's name makes no project name", NOWHERE, "", "give one with -p NAME or 'name:'")
    return name


def _named_in_file(value: str, at: Any, sources: Sources, context: Context) -> str:
    report = context.report
    try:
        if context.interpolation:
            value = substitute(value, sources.environment.get, lambda name: report.warn(unset_warning(name)))
    except (TemplateError, RequiredError):
        return normalized_name(value)  # the same value is substituted, and blamed, with the rest of its file
    if not normalized_name(value):
        report.problem(f"{value!r} makes no project name", at, "name", "use letters and digits")
    return normalized_name(value)


def _profiles_of(names: Sequence[str], services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [profile for name in names for profile in services.get(name, {}).get("profiles", ())]


def _selected(project: str, enabled: dict[str, dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not names:
        return enabled
    kept = with_dependencies(project, names, enabled)
    return {name: service for name, service in enabled.items() if name in kept}


def _align_replicas(service: dict[str, Any]) -> None:
    """`scale` and `deploy.replicas` say the same in two places."""
    if service.get("scale") is not None and service.get("deploy") is not None:
        order = ("mode", "replicas")
        deploy = service["deploy"] | {"replicas": service["scale"]}
        service["deploy"] = {key: deploy[key] for key in [*(k for k in order if k in deploy), *deploy]}


def _canonical(
    name: str,
    typed: Typed,
    enabled: Mapping[str, dict[str, Any]],
    selected: Mapping[str, dict[str, Any]],
    model: Map,
) -> dict[str, Any]:
    tree: dict[str, Any] = {"name": name, "services": dict(selected)}
    tree |= {kind: entries for kind, entries in used_resources(typed, enabled).items() if entries}
    tree |= {key: plain(value) for key, value in model.items() if key.startswith("x-")}
    return tree


def _check_options(model: Map, report: Report) -> None:
    services = model.get("services")
    if "x-fairlead" in model or any(isinstance(s, Map) and "x-fairlead" in s for s in (services or {}).values()):
        from fairlead.spec.fairlead_options import check_options

        check_options(model, report)


def position(tree: Tree, *path: str) -> Any:
    """Where ``path`` stands in the files."""
    return place(tree.model, path)
