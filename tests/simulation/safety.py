"""The promises, checked against what really is after every event; the first one broken ends the run.

Told by the engine, the router and the controllers what happens; `capacity` has the promises about numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.observed import Observation
from fairlead.rollout import commands
from fairlead.rollout.state import ServiceState
from fairlead.rollout.states import InstancePhase, RolloutPhase, members
from fairlead.routing import EndpointState
from fairlead.spec.model import Condition
from tests.simulation.replicas import Real
from tests.simulation.router import NEIGHBOUR
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from fairlead.controller.book import Book
    from fairlead.controller.core import Order as JournalledOrder
    from tests.simulation.controller import SimController
    from tests.simulation.sim import Sim

LEAVING_TIMEOUT_S = 10.0
FAILED_TIMEOUT_S = 5.0
NEIGHBOUR_SERVES_S = 5.0
_P = members(InstancePhase)
_R = members(RolloutPhase)
_ENDED = frozenset({"rolled-back", "superseded", "failed"})


class Safety:
    """Everything that must hold at all times."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._states: dict[str, ServiceState] = {}
        self._releases: dict[int, str] = {}
        self._events = 0
        self._seen: object = None
        self._seen_releases: object = None
        self._own: dict[str, set[str]] = {}
        self._left: set[str] = set()
        self._neighbour_state: ServiceState | None = None
        self._neighbour_served = False
        self._neighbour_settled = False

    def forget(self) -> None:
        """The store is another one, and counts anew."""
        self._releases = {}
        self._events = 0
        self._seen = self._seen_releases = None

    # What the engine is asked to do

    def on_touch(self, project: str, replica_id: str, whose: str) -> None:
        """A command of ``project`` is about ``replica_id``: is it its own, and was its start ever journalled for it?"""
        real = self._sim.engine.reals.get(replica_id)
        known = replica_id in self._own.get(project, ()) or self._sim.store.was_started(project, replica_id)
        if not known or (real is not None and real.spec.project != project):
            raise Violation("foreign", f"{project} touches {replica_id}, which is {whose}")

    def on_volume_removed(self, project: str, name: str) -> None:
        """Only where the last `down` said so."""
        if not self._sim.scenario.gives_up_volumes or project != "shop":
            raise Violation("volume", f"{project}: the volume {name} is removed and nobody agreed to it")

    def on_start(self, real: Real) -> None:
        self._left.discard(real.id)
        if self._is_neighbour(real, "starts"):
            return
        if not real.exclusive:
            return
        others = [
            other.id
            for other in self._sim.engine.reals.values()
            if other is not real and other.service == real.service and other.runs and other.exclusive
        ]
        if others:
            raise Violation("two-writers", f"{real.id} starts while {', '.join(others)} run on the same volume")

    def on_remove(self, real: Real) -> None:
        self._is_neighbour(real, "is removed")

    def _is_neighbour(self, real: Real, what: str) -> bool:
        """Whether ``real`` is the second project's, which nobody touches once it serves."""
        if real.spec.project != NEIGHBOUR:
            return False
        if self._neighbour_settled:
            raise Violation("neighbour", f"{real.id} {what} though nobody did anything to {NEIGHBOUR}")
        return True

    def on_signal(self, real: Real) -> None:
        """The drain contract: out of every pool, then nothing in flight or its deadline over."""
        sim = self._sim
        self._is_neighbour(real, "is signalled")
        if sim.router.in_pool(real.id):
            raise Violation("signalled-in-pool", f"{real.id} is signalled while a route sends it requests")
        if not real.requests or real.hung:
            return
        out_since_s = sim.router.out_since_s.get(real.id, sim.world.now_s)
        since_s = sim.world.now_s - out_since_s
        state = self._states.get(real.service) if real.spec.project != NEIGHBOUR else self._neighbour_state
        instance = next((i for i in state.instances if i.id == real.id), None) if state else None
        rollout = real.spec.revision.service.options.rollout
        requests_s = 30.0 if rollout.drain_timeout_s is None else rollout.drain_timeout_s
        streams_s = 300.0 if rollout.stream_timeout_s is None else rollout.stream_timeout_s
        leaving = state is None or state.leaving or real.id in self._left
        if leaving or real.exclusive:
            requests_s = min(requests_s, LEAVING_TIMEOUT_S)
            streams_s = 0.0 if leaving else min(streams_s, LEAVING_TIMEOUT_S)
        elif instance is None or instance.failure:
            requests_s, streams_s = min(requests_s, FAILED_TIMEOUT_S), min(streams_s, FAILED_TIMEOUT_S)
        for request in real.requests:
            limit_s = streams_s if request.stream else requests_s  # type: ignore[attr-defined]
            if since_s < limit_s - 0.01:
                kind = "stream" if request.stream else "request"  # type: ignore[attr-defined]
                raise Violation(
                    "cut", f"{real.id} is signalled with a {kind} open, {since_s:.3f} s of {limit_s:g} s after leaving"
                )

    def on_routes(self) -> None:
        """The proxy serves something else now: only replicas that exist, weights that add up."""
        sim = self._sim
        for key, pool in sim.router.ready.items():
            if pool and (min(pool.values()) <= 0 or len(set(pool.values())) > 1):
                raise Violation("weights", f"{key} does not share its requests evenly: {pool}")
            for replica_id in pool:
                real = sim.engine.reals.get(replica_id)
                if real is None and replica_id not in sim.gone:
                    raise Violation("routed-to-nobody", f"{key} sends requests to {replica_id}, which never was")
                if real is not None and real.signalled_at_s is not None:
                    raise Violation("routed-to-stopped", f"{key} sends requests to {replica_id}, which was signalled")

    # What the controller decides

    def on_order(self, controller: SimController, order: JournalledOrder) -> None:
        sim = self._sim
        if not sim.store.is_open(order.intent):
            raise Violation("not-journalled", f"{order.command.key} has no open intent {order.intent}")
        if any(o.project == order.project and o.command.key == order.command.key for o in controller.flying.values()):
            raise Violation("twice", f"{order.command.key} is asked for while it is being carried out")
        if controller.core.epoch != sim.store.newest_epoch:
            raise Violation("stale-leader", f"{controller.name} acts with an old lease: {order.command.key}")
        if isinstance(order.command, commands.StartReplica):
            self._own.setdefault(order.project, set()).add(order.command.replica_id)
        if isinstance(order.command, commands.StopReplica):
            state = controller.core.book(order.project).services.get(order.command.service)
            if order.project == NEIGHBOUR:
                self._neighbour_state = state
            if state is None or state.leaving:
                # Its deadlines are those of the moment in which it was decided, whatever a later file says.
                self._left.add(order.command.replica_id)
        if isinstance(order.command, commands.ApplyRoutes):
            for route in order.command.routes:
                # One that only finishes may be of a project that went down, as a late list shows it.
                ready = [e.replica_id for e in route.endpoints if e.state is EndpointState.READY]
                self._admitted(controller, order.project, route.service, ready)

    def _admitted(self, controller: SimController, project: str, service: str, replica_ids: list[str]) -> None:
        book = controller.core.book(project)
        known = {i.id: i for i in book.services[service].instances} if service in book.services else {}
        for replica_id in replica_ids:
            instance = known.get(replica_id)
            if instance is None or instance.revision_id not in book.definitions:
                raise Violation("not-admitted", f"{replica_id} is routed to and belongs to no admitted revision")

    def after_step(self, controller: SimController, observation: Observation | None) -> None:
        """A controller has taken a step that is committed."""
        sim = self._sim
        sim.changed = True
        if not controller.alive or controller.core.epoch != sim.store.newest_epoch:
            return
        book = controller.core.books.get("shop")
        if book is None:
            return
        self._no_alarm()
        if book is self._seen:
            return
        self._seen = book
        if book.releases is not self._seen_releases:
            self._finished(book)
        services = {} if book.gone else book.services
        self._count_rollouts(services)
        for name in {*self._states, *services}:
            sim.capacity.measure(name, services.get(name), controller, observation)
        for name, state in services.items():
            if self._states.get(name) is not state:
                self._given_up(self._states.get(name), state)
                self._in_turn(self._states.get(name), state, book)
        sim.capacity.remember(services)
        self._states = dict(services)

    def _in_turn(self, before: ServiceState | None, state: ServiceState, book: Book) -> None:
        """A rollout that waits for a job to complete begins after the job has completed."""
        rollout = state.rollout
        if rollout is None or rollout.phase is not _R.PROGRESSING or state.target is None:
            return
        known = before.rollout if before is not None else None
        if known is not None and known.release == rollout.release and known.phase is not _R.PENDING:
            return
        for name, dependency in book.definitions[state.target.definition_id].revision.service.depends_on.items():
            job = book.services.get(name)
            if dependency.condition is not Condition.COMPLETED or job is None or job.target is None:
                continue
            done = any(i.phase is _P.COMPLETED and i.key == job.target.key for i in job.instances)
            if not done and job.target.replicas > 0:
                raise Violation("out-of-turn", f"{state.service} has its turn and {name} has not completed")

    def _given_up(self, before: ServiceState | None, state: ServiceState) -> None:
        """One that drains is not believed ended while something is open to it, whatever lists leave out."""
        draining = {i.id for i in before.instances if i.phase is _P.DRAINING} if before is not None else ()
        for instance in state.instances:
            if instance.id in draining and instance.phase is _P.STOPPED:
                real = self._sim.engine.reals.get(instance.id)
                if real is not None and real.runs and real.requests:
                    raise Violation("given-up", f"{instance.id} runs, has {len(real.requests)} open, and is given up")

    def _finished(self, book: Book) -> None:
        """A release that has ended stays as it ended."""
        self._seen_releases = book.releases
        for number, release in book.releases.items():
            before = self._releases.get(number)
            if before in _ENDED and release.state != before:
                raise Violation("finished", f"release {number} was {before} and is {release.state}")
            self._releases[number] = release.state
        if book.gone:
            self._releases = {}

    def _no_alarm(self) -> None:
        newest = self._sim.store._last_event
        if newest == self._events:
            return
        for number in range(self._events + 1, newest + 1):
            event = self._sim.store._events.get(number)
            if event is None:
                continue
            self._sim.world.say("event", f"{event.kind}: {event.message}")
            if event.kind == "invariant-violated":
                raise Violation("invariant", event.message)
        self._events = newest

    def _count_rollouts(self, services: object) -> None:
        assert isinstance(services, dict) or services is not None
        for name, state in services.items():  # type: ignore[attr-defined]
            now = state.rollout
            known = self._states.get(name)
            before = known.rollout if known is not None else None
            if now is None or now is before:
                continue
            turned = before is not None and now.phase is _R.ROLLING_BACK is not before.phase
            if before is None or before.release != now.release or turned:
                self._sim.rollouts += 1
                if now.phase is _R.ROLLING_BACK and state.target is not None:
                    self._sim.chaos.on_way_back(name, state.target.key)

    # After every event

    def watch_neighbour(self) -> None:
        """Once the second project has served for a while nothing may happen to it any more."""
        sim = self._sim
        serves = sim.liveness.neighbour_serves()
        self._neighbour_settled = serves and self._neighbour_served
        self._neighbour_served = serves
        if not self._neighbour_settled:
            sim.world.at(NEIGHBOUR_SERVES_S, self.watch_neighbour)
