"""Build the typed :class:`Project` from the canonical tree.

Called by :func:`fairlead.spec.load.load` alone. The tree is valid here: nothing is checked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fairlead.spec.fairlead_options import service_options
from fairlead.spec.load import Tree
from fairlead.spec.model import (
    Build,
    Condition,
    Dependency,
    Deploy,
    FailureAction,
    FileReference,
    Healthcheck,
    Hook,
    Logging,
    Mark,
    Mount,
    Order,
    Port,
    Project,
    Resources,
    RestartCondition,
    RestartPolicy,
    Service,
    Ulimit,
    UpdateConfig,
)
from fairlead.spec.numbers import nanoseconds
from fairlead.spec.rules import words
from fairlead.spec.tree import Map, Position, Seq, plain

Entry = Mapping[str, Any]


def project_of(tree: Tree) -> Project:
    """The typed form of ``tree``, with the position of every key."""
    canonical = tree.canonical
    extensions = {key: value for key, value in canonical.items() if key.startswith("x-")}
    defaults = extensions.get("x-fairlead")
    sources: Mapping[str, Any] = tree.model.get("services") or {}
    return Project(
        name=tree.name,
        working_dir=tree.working_dir,
        files=tree.files,
        services={
            name: _service(name, entry, sources.get(name) or Map(), defaults)
            for name, entry in canonical["services"].items()
        },
        unselected=tuple(sorted(tree.all_services.keys() - canonical["services"].keys())),
        networks=canonical.get("networks", {}),
        volumes=canonical.get("volumes", {}),
        secrets=canonical.get("secrets", {}),
        configs={name: _config(name, entry, tree.model) for name, entry in canonical.get("configs", {}).items()},
        models=canonical.get("models", {}),
        extensions=extensions,
        marks=_Marks(tree.model),
        warnings=tree.warnings,
    )


def _config(name: str, entry: Entry, model: Map) -> Entry:
    """A config made of a variable carries its value here, because the engine cannot look it up."""
    source = (model.get("configs") or {}).get(name)
    value = source.get("content") if isinstance(source, Map) and "environment" in source else None
    return {**entry, "content": value} if isinstance(value, str) else entry


class _Marks(Mapping[str, Mark]):
    """The position of every key by its dotted path; made when somebody first asks, because most loads never do."""

    def __init__(self, model: Map) -> None:
        self._model: Map | None = model
        self._marks: dict[str, Mark] = {}

    def __getitem__(self, path: str) -> Mark:
        return self._all()[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Mark]:
        if self._model is not None:
            self._add(self._model, "")
            self._model = None
        return self._marks

    def _add(self, node: Map | Seq, path: str) -> None:
        if isinstance(node, Map):
            for key, value in node.items():
                self._put(f"{path}.{key}" if path else key, value, node.mark(key))
        else:
            for index, (value, at) in enumerate(node.entries()):
                self._put(f"{path}[{index}]", value, at)

    def _put(self, path: str, value: Any, at: Position) -> None:
        self._marks[path] = Mark(file=at[0], line=at[1], column=at[2])
        if isinstance(value, Map | Seq):
            self._add(value, path)


_TYPED = frozenset(
    words(
        "image build command entrypoint environment working_dir user group_add hostname container_name platform "
        "pull_policy ports expose volumes tmpfs networks network_mode depends_on healthcheck deploy scale restart "
        "stop_signal stop_grace_period init tty stdin_open read_only privileged labels logging ulimits secrets configs "
        "post_start pre_stop profiles"
    )
)


def _service(name: str, entry: Entry, source: Entry, defaults: Entry | None) -> Service:
    extra = {key: value for key, value in entry.items() if key not in _TYPED}
    extra |= {key: plain(value) for key, value in source.items() if key.startswith("x-") and key != "x-fairlead"}
    grace = entry.get("stop_grace_period")
    return Service(
        name=name,
        image=entry.get("image"),
        build=_build(entry["build"]) if entry.get("build") is not None else None,
        command=None if entry["command"] is None else tuple(entry["command"]),
        entrypoint=None if entry["entrypoint"] is None else tuple(entry["entrypoint"]),
        environment={key: value for key, value in entry.get("environment", {}).items() if value is not None},
        working_dir=entry.get("working_dir"),
        user=entry.get("user"),
        group_add=tuple(entry.get("group_add", ())),
        hostname=entry.get("hostname"),
        container_name=entry.get("container_name"),
        platform=entry.get("platform"),
        pull_policy=entry.get("pull_policy"),
        ports=tuple(port for item in entry.get("ports", ()) for port in _ports(item)),
        expose=tuple(entry.get("expose", ())),
        volumes=(*map(_mount, entry.get("volumes", ())), *map(_tmpfs, entry.get("tmpfs", ()))),
        networks={key: value or {} for key, value in entry.get("networks", {}).items()},
        network_mode=entry.get("network_mode"),
        depends_on={key: _dependency(value) for key, value in entry.get("depends_on", {}).items()},
        healthcheck=_healthcheck(entry["healthcheck"]) if entry.get("healthcheck") is not None else None,
        deploy=_deploy(entry.get("deploy") or {}),
        scale=entry.get("scale"),
        restart=entry.get("restart"),
        stop_signal=entry.get("stop_signal"),
        stop_grace_period_s=10.0 if grace is None else _seconds(grace) or 0.0,
        init=entry.get("init"),
        tty=entry.get("tty", False),
        stdin_open=entry.get("stdin_open", False),
        read_only=entry.get("read_only", False),
        privileged=entry.get("privileged", False),
        labels=entry.get("labels", {}),
        logging=_logging(entry.get("logging")),
        ulimits={key: _ulimit(value) for key, value in entry.get("ulimits", {}).items()},
        secrets=tuple(map(_file_reference, entry.get("secrets", ()))),
        configs=tuple(map(_file_reference, entry.get("configs", ()))),
        post_start=tuple(map(_hook, entry.get("post_start", ()))),
        pre_stop=tuple(map(_hook, entry.get("pre_stop", ()))),
        profiles=tuple(entry.get("profiles", ())),
        options=service_options(defaults, source.get("x-fairlead")),
        extra=extra,
    )


def _seconds(text: str | None) -> float | None:
    return None if text is None else nanoseconds(text) / 1e9


def _bytes(text: str | None) -> int | None:
    return None if text is None else int(text)


def _build(entry: Entry) -> Build:
    typed = words(
        "context dockerfile dockerfile_inline args target labels cache_from cache_to platforms tags network no_cache "
        "pull shm_size"
    )
    return Build(
        context=entry.get("context", ""),
        dockerfile=entry.get("dockerfile"),
        dockerfile_inline=entry.get("dockerfile_inline"),
        args=entry.get("args", {}),
        target=entry.get("target"),
        labels=entry.get("labels", {}),
        cache_from=tuple(entry.get("cache_from", ())),
        cache_to=tuple(entry.get("cache_to", ())),
        platforms=tuple(entry.get("platforms", ())),
        tags=tuple(entry.get("tags", ())),
        network=entry.get("network"),
        no_cache=entry.get("no_cache", False),
        pull=entry.get("pull", False),
        shm_size_bytes=_bytes(entry.get("shm_size")),
        extra={key: value for key, value in entry.items() if key not in typed},
    )


def _ports(entry: Entry) -> Iterator[Port]:
    """One value; a published range (`3000-3005:80`) leaves the choice of the host port, so its first is taken."""
    published = str(entry.get("published", ""))
    first = published.partition("-")[0]
    yield Port(
        target=entry.get("target", 0),
        published=int(first) if first.isdigit() and int(first) else None,
        protocol=entry.get("protocol", "tcp").lower(),
        host_ip=entry.get("host_ip"),
        mode=entry.get("mode", "ingress"),
        app_protocol=entry.get("app_protocol"),
        name=entry.get("name"),
    )


def _mount(entry: Entry) -> Mount:
    return Mount(
        type=entry.get("type", "volume"),
        target=entry.get("target", ""),
        source=entry.get("source"),
        read_only=entry.get("read_only", False),
        consistency=entry.get("consistency"),
        options={key: entry[key] for key in ("bind", "volume", "tmpfs", "image") if entry.get(key)},
    )


def _tmpfs(text: str) -> Mount:
    target, _, options = text.partition(":")
    return Mount(type="tmpfs", target=target, options={"options": options} if options else {})


def _dependency(entry: Entry) -> Dependency:
    return Dependency(
        condition=Condition(entry.get("condition", Condition.STARTED)),
        restart=entry.get("restart", False),
        required=entry.get("required", True),
    )


def _healthcheck(entry: Entry) -> Healthcheck:
    test = tuple(entry.get("test", ()))
    disable = entry.get("disable", False) or test[:1] == ("NONE",)
    return Healthcheck(
        test=() if test[:1] == ("NONE",) else test[1:] if test[:1] == ("CMD",) else test,
        interval_s=_seconds(entry.get("interval")),
        timeout_s=_seconds(entry.get("timeout")),
        retries=entry.get("retries"),
        start_period_s=_seconds(entry.get("start_period")),
        start_interval_s=_seconds(entry.get("start_interval")),
        disable=disable,
    )


def _deploy(entry: Entry) -> Deploy:
    resources = entry.get("resources") or {}
    return Deploy(
        mode=entry.get("mode"),
        replicas=entry.get("replicas"),
        update=_update(entry.get("update_config")),
        rollback=_update(entry.get("rollback_config")),
        restart_policy=_restart_policy(entry.get("restart_policy")),
        limits=_resources(resources.get("limits")),
        reservations=_resources(resources.get("reservations")),
        labels=entry.get("labels", {}),
        placement=entry.get("placement") or {},
        endpoint_mode=entry.get("endpoint_mode"),
    )


_ACTIONS = {str(action): action for action in FailureAction}
_CONDITIONS = {str(condition): condition for condition in RestartCondition} | {
    "always": RestartCondition.ANY,
    "unless-stopped": RestartCondition.ANY,
}
"""The words of `restart` stand where those of `restart_policy` belong in many files; they mean the same."""


def _update(entry: Entry | None) -> UpdateConfig | None:
    if entry is None:
        return None
    action, order = entry.get("failure_action"), entry.get("order")
    return UpdateConfig(
        parallelism=entry.get("parallelism"),
        delay_s=_seconds(entry.get("delay")),
        failure_action=_ACTIONS.get(action or ""),
        monitor_s=_seconds(entry.get("monitor")),
        max_failure_ratio=entry.get("max_failure_ratio"),
        order=Order(order) if order else None,
    )


def _restart_policy(entry: Entry | None) -> RestartPolicy | None:
    if entry is None:
        return None
    condition = entry.get("condition")
    return RestartPolicy(
        condition=_CONDITIONS.get(condition or ""),
        delay_s=_seconds(entry.get("delay")),
        max_attempts=entry.get("max_attempts"),
        window_s=_seconds(entry.get("window")),
    )


def _resources(entry: Entry | None) -> Resources | None:
    if entry is None:
        return None
    return Resources(
        cpus=entry.get("cpus"),
        memory_bytes=_bytes(entry.get("memory")),
        pids=entry.get("pids"),
        devices=tuple(entry.get("devices", ())),
        generic_resources=tuple(entry.get("generic_resources", ())),
    )


def _logging(entry: Entry | None) -> Logging | None:
    return None if entry is None else Logging(driver=entry.get("driver"), options=entry.get("options", {}))


def _ulimit(value: Any) -> Ulimit:
    if isinstance(value, int):
        return Ulimit(soft=value, hard=value)
    found = value or {}
    return Ulimit(soft=found.get("soft", 0), hard=found.get("hard", 0))


def _file_reference(entry: Entry) -> FileReference:
    return FileReference(
        source=entry.get("source", ""),
        target=entry.get("target"),
        uid=entry.get("uid"),
        gid=entry.get("gid"),
        mode=entry.get("mode"),
    )


def _hook(entry: Entry) -> Hook:
    return Hook(
        command=tuple(entry.get("command") or ()),
        user=entry.get("user"),
        privileged=entry.get("privileged", False),
        working_dir=entry.get("working_dir"),
        environment=entry.get("environment", {}),
    )
