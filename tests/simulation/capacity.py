"""How many replicas of each service have to serve, and how many may live: the promises about numbers.

Told by `safety` of every step of a controller, and asked after every event. Availability is a ratchet: once so many
replicas serve, the controller may never be the one that makes them fewer, as far as the operator still wants them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fairlead.observed import Health, Observation
from fairlead.rollout.progress import rules_of
from fairlead.rollout.state import ServiceState
from fairlead.rollout.states import ACTIVE, LIVE, InstancePhase, RolloutPhase, members
from fairlead.spec.model import FailureAction, Order
from tests.simulation.replicas import Real
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from tests.simulation.controller import SimController
    from tests.simulation.sim import Sim

MISSED_FOR_S = 1.0
"""Who is in no list for so long may be given up."""
ALL = 1_000_000

_P = members(InstancePhase)
_R = members(RolloutPhase)
_NOT_SETTLED = ACTIVE | {_R.FAILED}
"""A rollback that failed keeps what serves, and goes on trying to start what it was to bring back."""


class Bar:
    """What one service has to keep up. ``floor``: so many have served; ``sure``: so many do, and nothing that was asked
    of the router takes them out; ``low``, ``high``: the numbers wanted since all was steady; ``slack``: how many may be
    missing in a stop-first exchange; ``tolerated``: how many failures the policy goes on with."""

    __slots__ = ("floor", "high", "low", "slack", "sure", "surge", "target", "tolerated", "touched")

    def __init__(self) -> None:
        self.sure = 0
        self.floor = 0
        self.low = 0
        self.high = 0
        self.slack = 0
        self.surge = 0
        self.target = 0
        self.tolerated = 0
        self.touched = False

    @property
    def required(self) -> int:
        least = self.low - self.slack - self.tolerated
        return least if least > 0 else 0


class Capacity:
    """What each service has to keep up, and what the controller knows of its replicas."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._bars: dict[str, Bar] = {}
        self._ready: dict[str, frozenset[str]] = {}
        self._missing: dict[str, Mapping[str, float]] = {}
        self._states: Mapping[str, ServiceState] = {}

    def bar(self, service: str) -> Bar:
        found = self._bars.get(service)
        if found is None:
            found = Bar()
            self._bars = dict(sorted([*self._bars.items(), (service, found)]))
        return found

    def is_wanted(self, service: str) -> bool:
        """Whether the operator wants ``service`` to serve at all."""
        bar = self._bars.get(service)
        return bar is not None and bar.low > 0 and bar.floor > 0

    def is_ready(self, real: Real) -> bool:
        """Whether the controller takes ``real`` for one that serves."""
        return real.id in self._ready.get(real.service, ())

    # What the injector does

    def touch(self, service: str) -> None:
        """The injector has hurt ``service``: fewer may serve than before."""
        self.bar(service).touched = True

    def touch_all(self) -> None:
        for bar in self._bars.values():
            bar.touched = True

    def forget(self) -> None:
        """No controller knows who is ready: only the proxy shows who serves, where a service is behind it."""
        behind = {real.service for real in self._sim.engine.reals.values() if real.addresses}
        for name in self._bars.keys() - behind:
            self._bars[name].floor = 0
        self._states = {name: state for name, state in self._states.items() if name in behind}

    # What the controller decides

    def measure(
        self, name: str, state: ServiceState | None, controller: SimController, observation: Observation | None
    ) -> None:
        """A step has made ``state`` of the service ``name``: what has to hold from now on, and whether it may start
        what it starts."""
        bar = self.bar(name)
        if state is None or state.target is None or state.leaving:
            bar.target = bar.low = 0
        if state is None:
            bar.high = bar.surge = 0
            return
        rollout = state.rollout
        wanted = state.target.replicas if state.target is not None and not state.leaving else 0
        active = rollout is not None and rollout.phase in _NOT_SETTLED
        slots = [instance.slot for instance in state.instances if instance.phase in LIVE]
        live = len(slots)
        # One beyond the number serves until those within it do, and counts beside them.
        scaled = live <= wanted and max(slots, default=0) <= wanted
        if not active and scaled and bar.sure >= wanted - self._excess(state, controller):
            bar.low, bar.high, bar.slack, bar.surge, bar.tolerated = wanted, wanted, 0, 0, 0
        bar.target = wanted
        bar.low = min(bar.low, wanted)
        bar.high = max(bar.high, wanted, rollout.origin.replicas if rollout and rollout.origin else 0)
        before = self._states.get(name)
        if before is state:
            return  # What follows has been seen to for this very state.
        if self._has_noticed_a_loss(name, state, observation):
            bar.touched = True
        surge = bar.surge
        if active:
            self._allow(bar, state, controller, wanted)
            bar.tolerated = max(bar.tolerated, self._let_pass(before, state, controller))
        # A step may start replicas first and then, since another service failed, take the release back.
        surge = max(surge, bar.surge)
        # Taking back what still runs makes nothing new; whoever starts one more has to stay below the bound.
        if live > bar.high + surge and _starts_one(before, state):
            raise Violation("surge", f"{name}: {live} live replicas, {bar.high} wanted and {surge} more allowed")

    def _has_noticed_a_loss(self, name: str, state: ServiceState, observation: Observation | None) -> bool:
        """Whether the controller has just learned of something that the injector did."""
        ready, missing = self._ready.get(name, ()), self._missing.get(name, {})
        for instance in state.instances:
            is_missed = instance.missing_since_s is not None and instance.id not in missing
            if instance.id in ready and (is_missed or instance.phase is not _P.READY):
                real = self._sim.engine.reals.get(instance.id)
                if real is not None and not is_missed and _was_left_out(real.id, missing, observation):
                    real.doomed = True
                if real is None or not self._is_well(real):
                    return True
        return False

    def _is_well(self, real: Real) -> bool:
        now_s = self._sim.world.now_s
        well = real.ended is None and not real.doomed and real.hidden_until_s <= now_s
        return well and real.verdict(now_s) is Health.READY

    def _excess(self, state: ServiceState, controller: SimController) -> int:
        """How many failures the policy tolerates without replacing them."""
        return len(state.rollout.failed_slots) if state.rollout is not None else 0

    def _allow(self, bar: Bar, state: ServiceState, controller: SimController, wanted: int) -> None:
        """What the rules allow by which the rollout goes on now: so many may be missing, so many come on top."""
        definitions = controller.core.book("shop").definitions
        ids = [state.target.definition_id] if state.target else []
        if state.rollout is not None and state.rollout.origin is not None:
            ids.append(state.rollout.origin.definition_id)
        for definition_id in ids:
            definition = definitions.get(definition_id)
            if definition is not None and (definition.policy.exclusive or definition.policy.job):
                bar.slack, bar.surge = ALL, max(bar.surge, 1)
        if state.target is None or state.rollout is None or state.target.definition_id not in definitions:
            return
        update = rules_of(state.rollout, definitions[state.target.definition_id].policy)
        if update.order is Order.STOP_FIRST:
            bar.slack = max(bar.slack, update.parallelism)
        batch = update.parallelism
        if state.rollout.phase is _R.PROGRESSING:
            # A release that was superseded may have begun a larger one.
            batch = max(batch, state.rollout.admitted - state.rollout.released)
        bar.surge = max(1 if bar.slack == ALL else 0, min(batch, max(wanted, bar.high)))
        if update.max_failure_ratio > 0 or update.failure_action is FailureAction.CONTINUE:
            bar.tolerated = max(bar.tolerated, len(state.rollout.failed_slots))

    def _let_pass(self, before: ServiceState | None, state: ServiceState, controller: SimController) -> int:
        """How many failures the policy went on with, and let old replicas go for, in the very step in which another
        service had the release taken back."""
        if before is None or before.target is None or before.rollout is None or state.rollout is None:
            return 0
        if before.rollout.phase is not _R.PROGRESSING or state.rollout.phase is not _R.ROLLING_BACK:
            return 0
        definition = controller.core.book("shop").definitions.get(before.target.definition_id)
        if definition is None:
            return 0
        update = rules_of(before.rollout, definition.policy)
        known = {instance.id for instance in before.instances if instance.failure}
        failed = {i.slot for i in state.instances if i.key == before.target.key and i.failure and i.id not in known}
        slots = failed | set(before.rollout.failed_slots)
        allowed = update.max_failure_ratio * before.target.replicas
        return len(slots) if update.failure_action is FailureAction.CONTINUE or len(slots) <= allowed else 0

    def remember(self, services: Mapping[str, ServiceState]) -> None:
        """What the newest step made of each service."""
        for name, state in services.items():
            if self._states.get(name) is not state:
                ready = [i for i in state.instances if i.phase is _P.READY]
                self._ready[name] = frozenset(i.id for i in ready)
                self._missing[name] = {i.id: i.missing_since_s for i in ready if i.missing_since_s is not None}
        for name in self._ready.keys() - services.keys():
            del self._ready[name], self._missing[name]
        self._states = dict(services)

    # After every event

    def check(self) -> None:
        """Whether as many serve as have to."""
        count, sure = self._serving()
        for name, bar in self._bars.items():
            serving = count.get(name, 0)
            bar.sure = sure.get(name, 0)
            if bar.touched:
                bar.floor = min(bar.floor, bar.sure)
                bar.touched = False
            required = bar.required
            if bar.floor > required:
                bar.floor = required
            if serving < bar.floor:
                raise Violation(
                    "availability",
                    f"{name}: {serving} ready and routed, {bar.floor} were and {required} have to be",
                )
            if bar.sure > bar.floor and required > bar.floor:
                bar.floor = min(bar.sure, required)

    def _serving(self) -> tuple[dict[str, int], dict[str, int]]:
        """How many replicas of each service are ready and routed, and how many of them are to stay so."""
        pooled, coming = self._sim.router.pooled, self._sim.router.coming()
        count: dict[str, int] = {}
        sure: dict[str, int] = {}
        everybody = (*self._sim.engine.reals.values(), *self._sim.engine.vanished.values())
        for real in [real for real in everybody if real.has_served and real.signalled_at_s is None]:
            name = real.service
            if name not in self._states:
                continue
            ready = real.id in self._ready[name]
            # What the controller cannot know of yet is not held against what it does meanwhile.
            if (not ready or real.id in self._missing[name]) and not self._is_well(real):
                continue
            serves = real.id in pooled.get(name, ()) if real.addresses else ready
            count[name] = count.get(name, 0) + serves
            if coming:
                stays = not real.addresses or all(real.id in pools.get(name, ()) for pools in coming)
                sure[name] = sure.get(name, 0) + (serves and stays)
        return count, sure if coming else count


def _starts_one(before: ServiceState | None, state: ServiceState) -> bool:
    """Whether ``state`` has a replica to be made that was not there before."""
    known = {instance.id for instance in before.instances} if before is not None else set()
    return any(i.phase is _P.CREATING and i.id not in known for i in state.instances)


def _was_left_out(replica_id: str, missing: Mapping[str, float], observation: Observation | None) -> bool:
    """Whether lists that were older than they said have hidden a replica from the controller: not only the one that it
    has just been shown, and for so long that it had to give it up."""
    since_s = missing.get(replica_id)
    if observation is None or observation.taken_at_s is None or since_s is None:
        return False
    listed = any(replica.id == replica_id for replica in observation.replicas)
    return not listed and observation.taken_at_s - since_s >= MISSED_FOR_S
