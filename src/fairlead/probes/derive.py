"""Which probes a service has: those of `x-fairlead`, else what its `healthcheck` and its ports imply.

Called by `runner` when a replica is watched. Pure: decides, does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fairlead.spec.model import Healthcheck, Probe, ProbeKind, Service

INTERVAL_FLOOR_S = 0.1
SETTLE_S = 1.0
"""How long a replica that nothing can be asked of must have run before it counts as ready."""

STARTUP_INTERVAL_S = {ProbeKind.TCP: 0.1, ProbeKind.HTTP: 0.1, ProbeKind.COMMAND: 0.25}
"""How often to look until the first pass: a release waits for it, and it costs a starting replica little."""

HEALTHCHECK_INTERVAL_S = 30.0
HEALTHCHECK_TIMEOUT_S = 30.0
HEALTHCHECK_RETRIES = 3

_TCP_READINESS = Probe(kind=ProbeKind.TCP, interval_s=2.0, timeout_s=2.0, failure_threshold=3)
_TCP_LIVENESS = replace(_TCP_READINESS, failure_threshold=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveProbes:
    """The probes of one replica. ``startup`` must pass before the others run.

    ``startup`` None: passed after ``settle_s``. ``readiness`` None: ready once startup has passed.
    ``liveness`` None: never found dead.
    """

    startup: Probe | None = None
    readiness: Probe | None = None
    liveness: Probe | None = None
    settle_s: float = SETTLE_S

    @property
    def one_run_serves_both(self) -> bool:
        """Readiness and liveness ask the same, equally often, and differ in their thresholds at most."""
        if self.readiness is None or self.liveness is None:
            return False
        return self.liveness == replace(
            self.readiness,
            failure_threshold=self.liveness.failure_threshold,
            success_threshold=self.liveness.success_threshold,
        )

    @property
    def startup_shows_readiness(self) -> bool:
        """A startup that passed has asked what readiness asks, so that it need not be asked again at once."""
        if self.startup is None or self.readiness is None or self.readiness.success_threshold > 1:
            return False
        return _question(self.startup) == _question(self.readiness)


def probes_for(service: Service) -> EffectiveProbes:
    """The probes of every replica of ``service``; each that `x-fairlead` leaves out is derived."""
    explicit = service.options.probes
    readiness = explicit.readiness or _readiness(service)
    liveness = explicit.liveness or _liveness(service)
    startup = explicit.startup or _startup(service, readiness or liveness)
    return EffectiveProbes(startup=_floored(startup), readiness=_floored(readiness), liveness=_floored(liveness))


def _startup(service: Service, model: Probe | None) -> Probe | None:
    """The question of ``model``, asked more often and answered by one pass."""
    if model is None:
        return None
    interval_s = min(model.interval_s, STARTUP_INTERVAL_S[model.kind])
    check = _healthcheck(service)
    if check is not None and check.start_interval_s and model.command == check.test:
        interval_s = min(model.interval_s, check.start_interval_s)
    return replace(model, interval_s=interval_s, success_threshold=1)


def _readiness(service: Service) -> Probe | None:
    check = _healthcheck(service)
    if check is not None:
        return _command(check)
    return _tcp(service, _TCP_READINESS)


def _liveness(service: Service) -> Probe | None:
    check = _healthcheck(service)
    if check is not None:
        # Behind a readiness probe of its own, failures within the start period must not count.
        own_readiness = service.options.probes.readiness is not None
        return replace(_command(check), initial_delay_s=(check.start_period_s or 0.0) if own_readiness else 0.0)
    return None if _is_disabled(service) else _tcp(service, _TCP_LIVENESS)


def _healthcheck(service: Service) -> Healthcheck | None:
    """The `healthcheck` if it says what to run."""
    check = service.healthcheck
    if check is None or not check.test or _is_disabled(service):
        return None
    return check


def _is_disabled(service: Service) -> bool:
    check = service.healthcheck
    return check is not None and (check.disable or check.test[:1] == ("NONE",))


def _command(check: Healthcheck) -> Probe:
    """`healthcheck` as Docker reads it, where zero means the default just as silence does."""
    return Probe(
        kind=ProbeKind.COMMAND,
        command=check.test,
        interval_s=check.interval_s or HEALTHCHECK_INTERVAL_S,
        timeout_s=check.timeout_s or HEALTHCHECK_TIMEOUT_S,
        failure_threshold=check.retries or HEALTHCHECK_RETRIES,
    )


def _tcp(service: Service, model: Probe) -> Probe | None:
    """`expose` does not count: it says what may be reached, not that somebody listens."""
    port = next((port.target for port in service.ports if port.routed), None)
    return None if port is None else replace(model, port=port)


def _floored(probe: Probe | None) -> Probe | None:
    if probe is None or probe.interval_s >= INTERVAL_FLOOR_S:
        return probe
    return replace(probe, interval_s=INTERVAL_FLOOR_S)


def _question(probe: Probe) -> tuple[object, ...]:
    return (probe.kind, probe.path, probe.port, probe.command, probe.status, probe.headers)
