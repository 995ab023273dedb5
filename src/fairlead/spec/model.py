"""The typed desired state: what a Compose project says, after every short form has been expanded.

Read by everything above `spec`. All values are frozen; durations are seconds (``_s``), sizes bytes
(``_bytes``). ``msgspec.to_builtins`` and ``msgspec.convert`` take every class here to JSON and back, which is
how a revision reaches the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Condition(StrEnum):
    """When a dependency counts as fulfilled (`depends_on.*.condition`)."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


class Order(StrEnum):
    """`update_config.order`."""

    STOP_FIRST = "stop-first"
    START_FIRST = "start-first"


class FailureAction(StrEnum):
    """`update_config.failure_action`."""

    ROLLBACK = "rollback"
    PAUSE = "pause"
    CONTINUE = "continue"


class RestartCondition(StrEnum):
    """`deploy.restart_policy.condition`."""

    NONE = "none"
    ON_FAILURE = "on-failure"
    ANY = "any"


class RouteProtocol(StrEnum):
    """How the router treats a published port."""

    HTTP = "http"
    TCP = "tcp"
    UDP = "udp"


class Strategy(StrEnum):
    """`x-fairlead.rollout.strategy`."""

    ROLLING = "rolling"
    BLUE_GREEN = "blue-green"
    CANARY = "canary"
    RECREATE = "recreate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a node stands: ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """`build`, canonical. ``context`` is an absolute path or a URL."""

    context: str = ""
    dockerfile: str | None = None
    dockerfile_inline: str | None = None
    args: Mapping[str, str | None] = field(default_factory=dict)
    target: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    network: str | None = None
    no_cache: bool = False
    pull: bool = False
    shm_size_bytes: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One published or container-only port; ranges are expanded to one value a port.

    ``published`` None: the container port is open but the file asks for no fixed host port. ``inside`` is never in
    a file: an engine adds such a port so that other services reach this one by its names through the router; it maps
    each network to the names on it.
    """

    target: int
    published: int | None = None
    protocol: str = "tcp"
    host_ip: str | None = None
    mode: str = "ingress"
    app_protocol: str | None = None
    name: str | None = None
    inside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def routed(self) -> bool:
        """Whether a load balancer carries it. Other protocols go past it, or nowhere."""
        return self.protocol == "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One entry of `volumes` or `tmpfs`. ``type``: volume, bind, tmpfs, npipe, cluster, image."""

    type: str
    target: str
    source: str | None = None
    read_only: bool = False
    consistency: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependency:
    """One entry of `depends_on`."""

    condition: Condition = Condition.STARTED
    restart: bool = False
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck:
    """`healthcheck`. ``test`` is the argv after ``CMD``, or ``("CMD-SHELL", script)``; empty: nothing set.

    Defaults are Docker's: interval 30 s, timeout 30 s, 3 retries, no start period, start interval 5 s.
    """

    test: tuple[str, ...] = ()
    interval_s: float | None = None
    timeout_s: float | None = None
    retries: int | None = None
    start_period_s: float | None = None
    start_interval_s: float | None = None
    disable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConfig:
    """`deploy.update_config` or `deploy.rollback_config`; None: the file does not say."""

    parallelism: int | None = None
    delay_s: float | None = None
    failure_action: FailureAction | None = None
    monitor_s: float | None = None
    max_failure_ratio: float | None = None
    order: Order | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """`deploy.restart_policy`; None: the file does not say."""

    condition: RestartCondition | None = None
    delay_s: float | None = None
    max_attempts: int | None = None
    window_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """One side of `deploy.resources`."""

    cpus: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None
    devices: tuple[Mapping[str, Any], ...] = ()
    generic_resources: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """`deploy`. ``replicas`` None: the file does not say (then `scale`, then 1)."""

    mode: str | None = None
    replicas: int | None = None
    update: UpdateConfig | None = None
    rollback: UpdateConfig | None = None
    restart_policy: RestartPolicy | None = None
    limits: Resources | None = None
    reservations: Resources | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    placement: Mapping[str, Any] = field(default_factory=dict)
    endpoint_mode: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    driver: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReference:
    """One use of a secret or a config by a service (`secrets`, `configs`, long form)."""

    source: str
    target: str | None = None
    uid: str | None = None
    gid: str | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One `post_start` or `pre_stop` entry."""

    command: tuple[str, ...]
    user: str | None = None
    privileged: bool = False
    working_dir: str | None = None
    environment: Mapping[str, str | None] = field(default_factory=dict)


class ProbeKind(StrEnum):
    TCP = "tcp"
    HTTP = "http"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One health check of `x-fairlead.probes`.

    ``target``: a path for http (optionally ``:port/path``), empty or a port for tcp, unused for command.
    ``port`` is the container port that tcp and http go to; None: the service's first port.
    """

    kind: ProbeKind
    path: str = "/"
    port: int | None = None
    command: tuple[str, ...] = ()
    status: tuple[int, int] = (200, 399)
    headers: Mapping[str, str] = field(default_factory=dict)
    interval_s: float = 1.0
    timeout_s: float = 2.0
    failure_threshold: int = 3
    success_threshold: int = 1
    initial_delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """`x-fairlead.probes`. None: derived from `healthcheck`, else tcp on the port."""

    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    start_timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOptions:
    """`x-fairlead.rollout`. None: Fairlead's default (docs/compose.md)."""

    strategy: Strategy = Strategy.ROLLING
    drain_timeout_s: float | None = None
    stream_timeout_s: float | None = None
    hold_timeout_s: float | None = None
    watch_s: float | None = None
    progress_deadline_s: float | None = None
    steps: tuple[float, ...] = ()
    bake_s: float | None = None
    analysis: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOptions:
    """`x-fairlead.route`. ``balance``: least_conn, round_robin, source; ``sticky_cookie``: a cookie name."""

    protocol: RouteProtocol | None = None
    host: str | None = None
    path: str | None = None
    balance: str = "least_conn"
    sticky_cookie: str | None = None
    weight: int = 100
    retries: int | None = None
    timeout_s: float | None = None
    send_proxy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """A service's `x-fairlead`."""

    probes: Probes = field(default_factory=Probes)
    rollout: RolloutOptions = field(default_factory=RolloutOptions)
    route: RouteOptions = field(default_factory=RouteOptions)
    autoscale: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service, canonical. Everything not typed here is in ``extra`` under its Compose key."""

    name: str
    image: str | None = None
    build: Build | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    user: str | None = None
    group_add: tuple[str, ...] = ()
    hostname: str | None = None
    container_name: str | None = None
    platform: str | None = None
    pull_policy: str | None = None
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    volumes: tuple[Mount, ...] = ()
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    network_mode: str | None = None
    depends_on: Mapping[str, Dependency] = field(default_factory=dict)
    healthcheck: Healthcheck | None = None
    deploy: Deploy = field(default_factory=Deploy)
    scale: int | None = None
    restart: str | None = None
    stop_signal: str | None = None
    stop_grace_period_s: float = 10.0
    init: bool | None = None
    tty: bool = False
    stdin_open: bool = False
    read_only: bool = False
    privileged: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    logging: Logging | None = None
    ulimits: Mapping[str, Ulimit] = field(default_factory=dict)
    secrets: tuple[FileReference, ...] = ()
    configs: tuple[FileReference, ...] = ()
    post_start: tuple[Hook, ...] = ()
    pre_stop: tuple[Hook, ...] = ()
    profiles: tuple[str, ...] = ()
    options: ServiceOptions = field(default_factory=ServiceOptions)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def replicas(self) -> int:
        """The number of replicas the file asks for: `deploy.replicas`, then `scale`, then 1."""
        if self.deploy.replicas is not None:
            return self.deploy.replicas
        return 1 if self.scale is None else self.scale

    @property
    def health_is_up_to_the_image(self) -> bool:
        """The file has neither a probe nor a test, and does not forbid the one that the image may have."""
        check, probes = self.healthcheck or Healthcheck(), self.options.probes
        asked = check.test or probes.startup or probes.readiness or probes.liveness
        return not asked and not check.disable


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """One project: the services that its profiles select, and what they refer to.

    ``unselected`` names the other services of the file: nothing is said about them, neither to run nor to go.
    ``networks``, ``volumes``, ``secrets`` and ``configs`` hold the canonical mapping of each entry.
    ``marks`` tells where a dotted key path (``services.api.ports``) stands in the files.
    """

    name: str
    working_dir: str
    files: tuple[str, ...] = ()
    services: Mapping[str, Service] = field(default_factory=dict)
    unselected: tuple[str, ...] = ()
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    volumes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    extensions: Mapping[str, Any] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
