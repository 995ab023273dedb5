"""Fill in the variables of one file's tree, and cast the text of typed keys to their type.

Called for each document right after reading it, before anything is merged. A value that cannot be substituted or cast
is reported and stays as it is, so that one run finds every such value. Keys are never substituted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fairlead.spec.environment import unset_warning
from fairlead.spec.numbers import to_boolean, to_float, to_float32, to_integer
from fairlead.spec.report import Report
from fairlead.spec.rules import Rules, rules
from fairlead.spec.template import Kept, Lookup, RequiredError, TemplateError, substitute
from fairlead.spec.tree import Map, Path, Position, Seq, Timestamp

Cast = Callable[[str], Any]

_SERVICE_CASTS: dict[Cast, str] = {
    to_integer: (
        "configs.[].mode cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares deploy.replicas "
        "deploy.update_config.parallelism deploy.rollback_config.parallelism deploy.restart_policy.max_attempts "
        "deploy.placement.max_replicas_per_node healthcheck.retries oom_score_adj pids_limit ports.[].target scale "
        "secrets.[].mode ulimits.* ulimits.*.hard ulimits.*.soft"
    ),
    to_float: "cpu_percent deploy.update_config.max_failure_ratio deploy.rollback_config.max_failure_ratio",
    to_float32: "cpus",
    to_boolean: (
        "init healthcheck.disable oom_kill_disable privileged read_only stdin_open tty volumes.[].read_only "
        "volumes.[].volume.nocopy"
    ),
}
_RESOURCE_SWITCHES = (
    "networks.*.external networks.*.internal networks.*.attachable networks.*.enable_ipv4 networks.*.enable_ipv6 "
    "volumes.*.external secrets.*.external configs.*.external"
)
_CASTS: Rules[Cast] = rules(
    {f"services.*.{path}": cast for cast, paths in _SERVICE_CASTS.items() for path in paths.split()}
    | dict.fromkeys(_RESOURCE_SWITCHES.split(), to_boolean)
)
_OLD_BOOLEANS = frozenset(("y", "yes", "on", "n", "no", "off"))


def interpolate(tree: Map, environment: Mapping[str, str], report: Report, deferred: frozenset[str]) -> None:
    """Substitute in place. ``deferred`` names stay in commands and, when undefined, in `environment` values."""
    walk = _Walk(environment, report, deferred)
    for key in tree:
        tree[key] = walk.value(tree[key], (key,), tree.mark(key), _CASTS.below(key))


class _Walk:
    def __init__(self, environment: Mapping[str, str], report: Report, deferred: frozenset[str]) -> None:
        self._environment, self._report = environment, report
        self._deferred = (
            re.compile(rf"(?:{'|'.join(map(re.escape, sorted(deferred)))})(?:_[0-9]+)?\Z") if deferred else None
        )

    def value(self, value: Any, path: Path, at: Position, casts: Rules[Cast] | None) -> Any:
        if isinstance(value, Map):
            for key, item in value.items():
                value[key] = self.value(item, (*path, key), value.mark(key), casts.below(key) if casts else None)
            return value
        if isinstance(value, Seq):
            for index, item in enumerate(value):
                step = f"[{index}]"
                value[index] = self.value(item, (*path, step), value.mark(index), casts.below(step) if casts else None)
            return value
        if not isinstance(value, str) or isinstance(value, Timestamp):
            return value
        if "$" in value:
            value = self._substituted(value, path, at)
        if casts is not None and casts.rule is not None:
            return self._cast(casts.rule, value, path, at)
        return value

    def _substituted(self, text: str, path: Path, at: Position) -> str:
        try:
            return substitute(text, self._lookup_for(path), lambda name: self._report.warn(unset_warning(name)))
        except RequiredError as error:
            reason = f": {error.reason}" if error.reason else ""
            self._report.problem(
                f"the variable {error.name} is required{reason}",
                at,
                path,
                f"set {error.name} in the environment or in .env",
            )
        except TemplateError as error:
            self._report.problem(f"not a valid variable: {error}", at, path, "write ${NAME}, or $$ for a dollar sign")
        return text

    def _lookup_for(self, path: Path) -> Lookup:
        """The variables as ``path`` sees them: a deferred name stands for its own text."""
        environment, deferred = self._environment, self._deferred
        mode = _deferral(path) if deferred else ""
        if deferred is None or not mode:
            return environment.get

        def lookup(name: str) -> str | None:
            if deferred.match(name) and (mode == "command" or name not in environment):
                return Kept(f"${{{name}}}")
            return environment.get(name)

        return lookup

    def _cast(self, cast: Cast, text: str, path: Path, at: Position) -> Any:
        try:
            value = cast(text)
        except ValueError as error:
            self._report.problem(str(error), at, path, _CAST_FIX[cast])
            return text
        if cast is to_boolean and text.lower() in _OLD_BOOLEANS:
            word = "true" if value else "false"
            self._report.warn(f"{text!r} is no boolean in YAML 1.2; write {word}")
        return value


_CAST_FIX: dict[Cast, str] = {
    to_integer: "write an integer",
    to_float: "write a number",
    to_float32: "write a number such as 0.5",
    to_boolean: "write true or false",
}


def _deferral(path: Path) -> str:
    if path[0].startswith("x-") and path[0] != "x-fairlead":
        return "command"  # a fragment: what is made of it where it is used is looked at there
    if path[0] == "x-fairlead":
        return "command" if _is_probe_command(path) else ""
    if len(path) < 3 or path[0] != "services":
        return ""
    if path[2] in ("command", "entrypoint") or path[2:4] == ("healthcheck", "test") or _is_probe_command(path[2:]):
        return "command"
    if path[2] in ("post_start", "pre_stop"):
        return {"command": "command", "environment": "environment"}.get("".join(path[4:5]), "")
    return "environment" if path[2] == "environment" else ""


def _is_probe_command(path: Path) -> bool:
    return path[:2] == ("x-fairlead", "probes") and path[3:4] == ("command",)
