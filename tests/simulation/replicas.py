"""One replica as it really is: ground truth, which the controller only ever hears of.

Made by `engine`; its behaviour is drawn when it starts, from the run's chance and from what its revision's
environment says (``BAD``: a revision that is broken in one way or another).
"""

from __future__ import annotations

from fairlead.observed import Exit, Health, ObservedReplica, ReplicaSpec, ReplicaState
from fairlead.routing import Address
from tests.simulation.router import place


class Real:
    """``doomed``: the injector has made the controller give it up, whatever it does from now on."""

    __slots__ = (
        "_observed", "accepts", "addresses", "doomed", "ended", "exclusive", "has_served", "health", "health_lag_s",
        "health_log", "hidden_until_s", "hung", "id", "ignores_term", "key", "number", "requests", "service", "sick",
        "signalled_at_s", "spec", "started_at_s",
    )  # fmt: skip

    def __init__(self, spec: ReplicaSpec, number: int, now_s: float, *, exclusive: bool) -> None:
        self.spec = spec
        self.id = spec.id
        self.service = place(spec.project, spec.revision.service.name)
        self.number = number
        self.key = (spec.revision.id, spec.generation)
        self.exclusive = exclusive
        self.started_at_s = now_s
        self.accepts = False
        self.has_served = False
        self.sick = False
        self.hung = False
        self.doomed = False
        self.ignores_term = False
        self.ended: Exit | None = None
        self.signalled_at_s: float | None = None
        self.hidden_until_s = 0.0
        self.health = Health.STARTING
        self.health_lag_s = 0.0
        self.health_log: list[tuple[float, Health]] = [(now_s, Health.STARTING)]
        self.requests: set[object] = set()
        ports = {port.target for port in spec.revision.service.ports}
        self.addresses = {port: Address(host="127.0.0.1", port=10_000 + number) for port in sorted(ports)}
        self._observed: ObservedReplica | None = None

    @property
    def runs(self) -> bool:
        return self.ended is None

    @property
    def serves(self) -> bool:
        """It answers requests, and will go on doing so as far as it goes."""
        return self.accepts and not self.sick and not self.hung and self.ended is None and self.signalled_at_s is None

    def turn(self, health: Health, now_s: float) -> None:
        self.health = health
        self.health_log.append((now_s, health))

    def verdict(self, now_s: float) -> Health:
        """What probes say of it at ``now_s``: the truth, a little late."""
        for since_s, health in reversed(self.health_log):
            if since_s + self.health_lag_s <= now_s:
                return health
        return Health.STARTING

    def end(self, how: Exit) -> None:
        self.ended = how
        self.accepts = False
        self._observed = None

    def observed(self) -> ObservedReplica:
        if self._observed is None:
            self._observed = ObservedReplica(
                id=self.spec.id,
                project=self.spec.project,
                service=self.spec.revision.service.name,
                revision_id=self.spec.revision.id,
                slot=self.spec.slot,
                generation=self.spec.generation,
                state=ReplicaState.RUNNING if self.ended is None else ReplicaState.EXITED,
                addresses=self.addresses,
                exit=self.ended,
                native_id=str(self.number),
                started_at_s=self.started_at_s,
            )
        return self._observed
