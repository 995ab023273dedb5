"""Check that the services of a project fit together: references, exclusions, circles.

Called by the loader on the typed tree of the services that the profiles select. Every finding is reported; a
service whose key was already found wrong is not blamed a second time for its absence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fairlead.spec.report import Report, suggestion
from fairlead.spec.tree import Map, Path, dotted, place

Entries = Mapping[str, Mapping[str, Any]]
_PULL_POLICY = r"always|never|build|if_not_present|missing|refresh|daily|weekly|every_(?:[0-9]+[wdhms])+"
_RESTART_WORDS = ("always", "unless-stopped")
"""The words of `restart` stand where those of `restart_policy.condition` belong in many files."""
_RESTART = r"no|always|unless-stopped|on-failure(?::[0-9]+)?"


class Consistency:
    """``typed`` is the typed tree; ``disabled`` the services that the profiles leave out; ``model`` knows positions."""

    def __init__(self, typed: Mapping[str, Entries], disabled: Iterable[str], model: Map, report: Report) -> None:
        self._typed, self._disabled = typed, frozenset(disabled)
        self._services = {name: entry for name, entry in typed["services"].items() if name not in self._disabled}
        self._model, self._report = model, report

    def check(self) -> None:
        for name, service in self._services.items():
            for rule in _RULES:
                rule(self, name, service)
        for name, secret in self._typed["secrets"].items():
            if not secret.get("external") and not secret.get("file") and not secret.get("environment"):
                self._problem("neither 'file' nor 'environment' is given", ("secrets", name), "add one of the two")
        self._circles()

    def _problem(self, message: str, path: Path, fix: str) -> None:
        if not self._report.is_broken(path):
            self._report.problem(message, place(self._model, path), path, fix)

    def image_or_build(self, name: str, service: Mapping[str, Any]) -> None:
        """A command alone is enough, unlike for Docker Compose: as a local process it needs no image."""
        path = ("services", name)
        has = service.get("image") or service.get("build") is not None or service.get("provider") is not None
        has = has or bool(service.get("command")) or bool(service.get("entrypoint"))
        if not has and not self._report.is_broken((*path, "image"), (*path, "build"), (*path, "extends")):
            fix = "add 'image: NAME' or 'build: .', or a 'command' to run as a local process"
            self._problem("the service has neither an image nor a build", path, fix)

    def build(self, name: str, service: Mapping[str, Any]) -> None:
        build = service.get("build")
        if build is None:
            return
        path = ("services", name, "build")
        if build.get("dockerfile_inline") and build.get("dockerfile"):
            self._problem("'dockerfile' and 'dockerfile_inline' exclude each other", path, "keep one of the two")
        for key, context in build.get("additional_contexts", {}).items():
            if context.startswith("service:"):
                self._context_of_service(context.removeprefix("service:"), (*path, "additional_contexts", key))
        platform, platforms = service.get("platform"), build.get("platforms")
        if platform and platforms and platform not in platforms:
            self._problem(
                f"build.platforms does not contain the service's platform {platform!r}", path, f"add {platform!r}"
            )
        for use in build.get("secrets", ()):
            self._known("secrets", "build secret", use.get("source", ""), (*path, "secrets"))

    def _context_of_service(self, target: str, path: Path) -> None:
        if target not in self._services:
            self._problem(
                f"the service {target!r} is unknown", path, suggestion(target, self._services) or "check the name"
            )
        elif self._services[target].get("build") is None:
            self._problem(f"the service {target!r} is not built", path, f"give {target!r} a 'build'")

    def networks(self, name: str, service: Mapping[str, Any]) -> None:
        path = ("services", name)
        networks = service.get("networks", {})
        if service.get("network_mode") and networks:
            self._problem(
                "'network_mode' and 'networks' exclude each other", (*path, "network_mode"), "keep one of the two"
            )
        for network in networks:
            self._known("networks", "network", network, (*path, "networks"))
        mode = service.get("network_mode", "")
        if mode.startswith("service:"):
            self._dependency(mode.removeprefix("service:"), (*path, "network_mode"), required=True)

    def healthcheck(self, name: str, service: Mapping[str, Any]) -> None:
        test = (service.get("healthcheck") or {}).get("test") or ["NONE"]
        if test[0] not in ("CMD", "CMD-SHELL", "NONE"):
            self._problem(
                f"the list of a healthcheck's test starts with CMD, CMD-SHELL or NONE, not {test[0]!r}",
                ("services", name, "healthcheck", "test"),
                'write ["CMD", …], or one string for a shell',
            )

    def depends_on(self, name: str, service: Mapping[str, Any]) -> None:
        for target, dependency in service.get("depends_on", {}).items():
            self._dependency(target, ("services", name, "depends_on"), required=dependency.get("required", True))

    def _dependency(self, target: str, path: Path, *, required: bool) -> None:
        if target in self._services or self._report.full:
            return
        if target in self._disabled:
            if required:
                profiles = ", ".join(self._typed["services"][target].get("profiles", ()))
                self._problem(
                    f"it needs the service {target!r}, which no selected profile starts",
                    (*path, target),
                    f"select one of its profiles ({profiles}), or set 'required: false'",
                )
        elif not self._report.is_broken(("services", target)):
            fix = suggestion(target, self._services) or f"services: {', '.join(sorted(self._services))}"
            self._problem(f"the service {target!r} is not defined", (*path, target), fix)

    def files_and_volumes(self, name: str, service: Mapping[str, Any]) -> None:
        path = ("services", name)
        for index, mount in enumerate(service.get("volumes", ())):
            if mount.get("type") == "volume" and mount.get("source"):
                self._known("volumes", "volume", mount["source"], (*path, "volumes", f"[{index}]"))
        for kind in ("configs", "secrets"):
            for index, use in enumerate(service.get(kind, ())):
                self._known(kind, kind[:-1], use.get("source", ""), (*path, kind, f"[{index}]"))
        for model in service.get("models", {}):
            self._known("models", "model", model, (*path, "models"))

    def _known(self, kind: str, word: str, target: str, path: Path) -> None:
        known = self._typed[kind]
        if target in known or self._report.full or self._report.is_broken((kind, target)):
            return
        near = suggestion(target, known)
        fix = near or f"add {target!r} under the top-level key {kind!r}"
        step = () if path[-1].startswith("[") else (target,)
        self._problem(f"the {word} {target!r} is not defined", (*path, *step), fix)

    def numbers(self, name: str, service: Mapping[str, Any]) -> None:
        """The same limit said twice must be the same."""
        path, deploy = ("services", name), service.get("deploy")
        if deploy is None:
            return
        scale, replicas = service.get("scale"), deploy.get("replicas")
        if scale is not None and replicas is not None and scale != replicas:
            self._problem("'scale' and 'deploy.replicas' differ", (*path, "scale"), "keep 'deploy.replicas' alone")
        resources = deploy.get("resources", {})
        for key, side, limit in (
            ("cpus", "limits", "cpus"),
            ("mem_limit", "limits", "memory"),
            ("mem_reservation", "reservations", "memory"),
            ("pids_limit", "limits", "pids"),
        ):
            given, section = service.get(key), resources.get(side)
            if given and section is not None and section.get(limit) != given:
                self._problem(
                    f"{key!r} and 'deploy.resources.{side}.{limit}' differ", (*path, key), "keep the one under deploy"
                )

    def possible(self, name: str, service: Mapping[str, Any]) -> None:
        """Numbers and words that pass as such and that nobody could carry out."""
        path: Path = ("services", name)
        deploy = service.get("deploy") or {}
        for count, where in ((service.get("scale"), ("scale",)), (deploy.get("replicas"), ("deploy", "replicas"))):
            if count is not None and count < 0:
                self._problem(f"{count} replicas cannot run", (*path, *where), "write 0 or more")
        restart = service.get("restart")
        if restart and not re.fullmatch(_RESTART, restart):
            fix = "write one of no, always, unless-stopped, on-failure or on-failure:3"
            self._problem(f"{restart!r} is no restart policy", (*path, "restart"), fix)
        durations: list[tuple[str | None, Path]] = [(service.get("stop_grace_period"), (*path, "stop_grace_period"))]
        for section in ("update_config", "rollback_config", "restart_policy"):
            rules, inner = deploy.get(section) or {}, (*path, "deploy", section)
            durations += [(rules.get(key), (*inner, key)) for key in ("delay", "monitor", "window")]
            ratio = rules.get("max_failure_ratio")
            if ratio is not None and not 0 <= ratio <= 1:
                fix = "write a part of the replicas, 0 to 1, for example 0.25"
                self._problem(f"{ratio:g} is no ratio", (*inner, "max_failure_ratio"), fix)
        for duration, at in durations:
            if duration and duration.startswith("-"):
                self._problem(f"{duration!r} is negative", at, "write a duration such as 30s or 1m30s")

    def pull_policy(self, name: str, service: Mapping[str, Any]) -> None:
        policy = service.get("pull_policy")
        if policy is not None and not re.fullmatch(_PULL_POLICY, policy):
            known = ("always", "never", "build", "missing", "if_not_present", "refresh", "daily", "weekly")
            fix = suggestion(policy, known) or f"write one of {', '.join(known)} or every_12h"
            self._problem(f"{policy!r} is no pull policy", ("services", name, "pull_policy"), fix)

    def container_name(self, name: str, service: Mapping[str, Any]) -> None:
        """Docker refuses this; Fairlead names the replicas itself, so that the unmodified file runs."""
        scale = service.get("scale")
        replicas = scale if scale is not None else (service.get("deploy") or {}).get("replicas") or 1
        if replicas > 1 and service.get("container_name"):
            self._report.warn(
                f"services.{name}: container_name with {replicas} replicas: each gets its number behind the name"
            )

    def words(self, name: str, service: Mapping[str, Any]) -> None:
        """Words that the specification lists but Compose does not check."""
        deploy = service.get("deploy") or {}
        for section, key, known in (
            ("update_config", "failure_action", ("rollback", "pause", "continue")),
            ("rollback_config", "failure_action", ("rollback", "pause", "continue")),
            ("restart_policy", "condition", ("none", "on-failure", "any")),
        ):
            word = (deploy.get(section) or {}).get(key)
            if word and word not in known:
                path = ("services", name, "deploy", section, key)
                file, line, column = place(self._model, path)
                meant = "any" if word in _RESTART_WORDS else "not written"
                self._report.warn(
                    f"{file}:{line}:{column}: {dotted(path)}: {word!r} is none of {', '.join(known)}; "
                    f"it counts as {meant}"
                )

    def develop(self, name: str, service: Mapping[str, Any]) -> None:
        for index, watch in enumerate((service.get("develop") or {}).get("watch", ())):
            path = ("services", name, "develop", "watch", f"[{index}]")
            if not watch.get("path"):
                self._problem("the path to watch is empty", path, "add 'path'")
            if not watch.get("target") and watch.get("action") not in ("rebuild", "restart"):
                self._problem(f"the action {watch.get('action')!r} needs a target", path, "add 'target'")

    def _circles(self) -> None:
        """Every circle of `depends_on`, once."""
        done: set[str] = set()
        for start in sorted(self._services):
            self._follow(start, done)

    def _follow(self, start: str, done: set[str]) -> None:
        """Depth first without recursion: ``path`` is the way from ``start``, ``stack`` what is left to try."""
        path: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, depth = stack.pop()
            del path[depth:]
            if name in path:
                circle = path[path.index(name) :]
                words = " → ".join([*circle, name])
                self._problem(
                    f"services wait for each other in a circle: {words}",
                    ("services", circle[-1], "depends_on", name),
                    "remove one of these dependencies",
                )
                continue
            if name in done or name not in self._services:
                continue
            done.add(name)
            path.append(name)
            targets = self._services[name].get("depends_on", {})
            stack.extend((target, len(path)) for target in sorted(targets, reverse=True))


_RULES: tuple[Callable[[Consistency, str, Mapping[str, Any]], None], ...] = (
    Consistency.image_or_build,
    Consistency.build,
    Consistency.networks,
    Consistency.healthcheck,
    Consistency.depends_on,
    Consistency.files_and_volumes,
    Consistency.numbers,
    Consistency.possible,
    Consistency.pull_policy,
    Consistency.container_name,
    Consistency.words,
    Consistency.develop,
)
