"""The effective rules of one revision: what the file says, completed with Fairlead's defaults.

Made once a revision by :func:`policy_of`, read by `machine` and its parts. Where the file is silent the defaults
are meant for production: start-first, all replicas of a batch at once, automatic rollback. They differ from the
Compose specification's (stop-first, one at a time, pause), which are those of an engine without a router.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from fairlead.rollout.volumes import is_exclusive
from fairlead.spec.model import (
    FailureAction,
    Healthcheck,
    Order,
    RestartCondition,
    Service,
    Strategy,
    UpdateConfig,
)

DRAIN_TIMEOUT_S = 30.0
STREAM_TIMEOUT_S = 300.0
HOLD_TIMEOUT_S = 30.0
START_TIMEOUT_S = 30.0
WATCH_S = 30.0
PROGRESS_DEADLINE_S = 600.0
"""Kubernetes' and Nomad's default for a rollout that makes no progress."""

BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 60.0
RESTART_WINDOW_S = 60.0
"""A replica that was ready for this long starts with a clean slate."""

SMALLEST_BATCH = 4


class UpdatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How replicas are exchanged. ``parallelism`` is at least 1; durations in seconds."""

    parallelism: int
    delay_s: float
    monitor_s: float
    failure_action: FailureAction
    max_failure_ratio: float
    order: Order


class RestartRule(msgspec.Struct, frozen=True, kw_only=True):
    """When a replica that ended is followed by another. ``max_attempts`` None: without end."""

    condition: RestartCondition
    delay_s: float
    max_attempts: int | None
    window_s: float


class ServicePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the machine needs to know of a revision.

    ``first``: how the very first replicas come, when there are none to exchange: `update_config` is about updates.
    ``rollback``: how a release that failed is taken back; ``returning``: how the service goes to an earlier release
    that an operator asks for. Both are `rollback_config`; where that says nothing of failures, the latter has what
    served until now to go back to, the former has not.
    ``job``: the service is meant to end. ``exclusive``: two replicas must never run at a time.
    ``ports`` maps a route key's published part to the container port behind it.
    """

    first: UpdatePolicy
    update: UpdatePolicy
    rollback: UpdatePolicy
    returning: UpdatePolicy
    restart: RestartRule
    start_timeout_s: float
    drain_timeout_s: float
    stream_timeout_s: float
    hold_timeout_s: float
    watch_s: float
    progress_deadline_s: float
    stop_grace_s: float
    stop_signal: str | None
    job: bool
    exclusive: bool


def policy_of(service: Service, *, cores: int, job: bool = False) -> ServicePolicy:
    """The rules for ``service`` on a machine with ``cores`` processors.

    ``job``: another service waits for this one to complete.
    """
    rollout = service.options.rollout
    exclusive = is_exclusive(service)
    update = _update(service.deploy.update, service, cores, exclusive, job, default=FailureAction.ROLLBACK)
    rollback = _update(service.deploy.rollback, service, cores, exclusive, job, default=FailureAction.PAUSE)
    said = service.deploy.rollback.failure_action if service.deploy.rollback else None
    return ServicePolicy(
        first=replace(update, parallelism=_parallelism(UpdateConfig(), service.replicas, cores, False), delay_s=0.0),
        update=update,
        rollback=rollback,
        returning=replace(rollback, failure_action=said or FailureAction.ROLLBACK),
        restart=_restart(service, job),
        start_timeout_s=start_timeout_s(service),
        drain_timeout_s=_given(rollout.drain_timeout_s, DRAIN_TIMEOUT_S),
        stream_timeout_s=_given(rollout.stream_timeout_s, STREAM_TIMEOUT_S),
        hold_timeout_s=_given(rollout.hold_timeout_s, HOLD_TIMEOUT_S),
        watch_s=_given(rollout.watch_s, WATCH_S),
        progress_deadline_s=_given(rollout.progress_deadline_s, PROGRESS_DEADLINE_S),
        stop_grace_s=service.stop_grace_period_s,
        stop_signal=service.stop_signal,
        job=job,
        exclusive=exclusive,
    )


def _given(value: float | None, default: float) -> float:
    return default if value is None else value


def _update(
    config: UpdateConfig | None, service: Service, cores: int, exclusive: bool, job: bool, *, default: FailureAction
) -> UpdatePolicy:
    config = config or UpdateConfig()
    recreate = service.options.rollout.strategy is Strategy.RECREATE
    order = Order.STOP_FIRST if exclusive or recreate or job else config.order or Order.START_FIRST
    return UpdatePolicy(
        parallelism=_parallelism(config, service.replicas, cores, recreate),
        delay_s=_given(config.delay_s, 0.0),
        monitor_s=_given(config.monitor_s, 0.0),
        failure_action=config.failure_action or default,
        max_failure_ratio=_given(config.max_failure_ratio, 0.0),
        order=order,
    )


def _parallelism(config: UpdateConfig, replicas: int, cores: int, recreate: bool) -> int:
    """The batch: what the file says (0 is all), else all at once, bounded by two a core."""
    everything = max(replicas, 1)
    if recreate or config.parallelism == 0:
        return max(everything, 1_000_000)
    if config.parallelism is not None:
        return config.parallelism
    return max(SMALLEST_BATCH, 2 * cores)


def _restart(service: Service, job: bool) -> RestartRule:
    policy = service.deploy.restart_policy
    condition = policy.condition if policy else None
    max_attempts = policy.max_attempts if policy else None
    if condition is None:
        condition, attempts = _restart_key(service.restart, job)
        max_attempts = attempts if max_attempts is None else max_attempts
    return RestartRule(
        condition=condition,
        delay_s=_given(policy.delay_s if policy else None, BACKOFF_FIRST_S),
        max_attempts=max_attempts,
        window_s=_given(policy.window_s if policy else None, RESTART_WINDOW_S),
    )


def _restart_key(restart: str | None, job: bool) -> tuple[RestartCondition, int | None]:
    """`restart`: no, always, unless-stopped, on-failure[:n]. Silent means `any`, but never again for a job."""
    if restart is None:
        return (RestartCondition.NONE if job else RestartCondition.ANY), None
    kind, _, count = restart.partition(":")
    if kind == "no":
        return RestartCondition.NONE, None
    if kind == "on-failure":
        return RestartCondition.ON_FAILURE, int(count) if count else None
    return (RestartCondition.ON_FAILURE if job else RestartCondition.ANY), None


def start_timeout_s(service: Service) -> float:
    """How long a replica may take until it is ready: what the file says, else at least the health check's own time."""
    options = service.options.probes
    if options.start_timeout_s is not None:
        return options.start_timeout_s
    if options.startup is not None:
        patience_s = options.startup.failure_threshold * options.startup.interval_s
        return max(START_TIMEOUT_S, options.startup.initial_delay_s + patience_s)
    check = service.healthcheck or Healthcheck()
    if check.disable or not check.test:
        return START_TIMEOUT_S
    interval, timeout = _given(check.interval_s, 30.0), _given(check.timeout_s, 30.0)
    retries = 3 if check.retries is None else check.retries
    grown = _given(check.start_period_s, 0.0) + retries * min(interval + timeout, 30.0)
    return max(START_TIMEOUT_S, grown)
