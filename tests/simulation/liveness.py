"""After the faults: the world heals, and everything has to end, and end where it should.

Run by `sim`. One image may stay bad for ever: a healthy file converges, a broken one is taken back, nothing leaks.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from fairlead.controller.book import Book
from fairlead.controller.controls import UpRequest
from fairlead.observed import Exit, ExitCause
from fairlead.rollout.state import Transaction, TransactionPhase
from fairlead.rollout.states import InstancePhase, RolloutPhase
from fairlead.spec.model import FailureAction
from tests.simulation.router import NEIGHBOUR, PROJECT, served_by
from tests.simulation.world import Violation

if TYPE_CHECKING:
    from tests.simulation.replicas import Real
    from tests.simulation.sim import Sim

CHAOS_AFTER_LAST_ACT_S = (2.0, 60.0)
BOUND_S = 8000.0
"""Longer than anything may take: a progress deadline for each batch there, as many back, streams that finish."""

SETTLED_FOR_S = 400.0
"""Long enough for every stream to end and every backoff to run out."""

PROMPT_S = 10.0
"""The longest that the first two ends of a replica may go without a successor: well below a look at rest."""

BOOTED_S = 3.0
"""Long enough for a replica to get ready in a healthy world."""

NEVER_READY = ("no-start", "crash", "never-ready", "oom", "ends", "port-taken")

_T = TransactionPhase
_UNDER_WAY = (_T.RUNNING, _T.ROLLING_BACK)


class Liveness:
    """The end of a run."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._lost = Random(f"{sim.world.seed}:lost")

    def run(self) -> None:
        """Faults, then health: the good file converges, a bad one is taken back, `down` leaves nothing."""
        sim = self._sim
        while sim.scenario.acts_left > 0 or sim.scenario.pending > 0:
            if not sim.until(sim.world.now_s + 1000.0):
                break
        self._pass(sim.world.between(*CHAOS_AFTER_LAST_ACT_S))
        self._heal()
        self._settle("after the faults")
        self._nothing_open()
        self._good()
        if sim.world.rng.random() < 0.5:
            self._bad()
        if sim.world.rng.random() < 0.25:
            self._mended()
        if sim.world.rng.random() < 0.4:
            self._down()
        if NEIGHBOUR in sim.projects:
            self._neighbour()
        if not self._book().gone and self._lost.random() < 0.3:
            self._lose_store()

    def _lose_store(self) -> None:
        """What serves goes on though nobody has a record of it; what was under way is completed by saying it again."""
        sim = self._sim
        at_rest = self._lost.random() < 0.5
        sim.scenario.up_good()
        file = len(sim.scenario.files) - 1
        sim.clients.burst(10, 20.0)
        if at_rest:
            self._settle("a healthy file")
            self._pass(SETTLED_FOR_S)
        else:
            self._pass(self._lost.choice((0.5, 2.0, 5.0, 20.0)) * self._lost.random())
        plan = sim.leader().core.plan(UpRequest(project=sim.scenario.files[file]))
        as_said = at_rest and plan.is_empty and not self._book().project.scale
        before = self._serving()
        sim.lose_store()
        sim.scenario.pending = 0
        self._pass(60.0)
        if at_rest and self._serving() != before:
            raise Violation("lost-store", f"{before} served, their record was lost, and {self._serving()} serve")
        sim.scenario.up_again()
        self._settle("the same file after a lost store")
        sim.clients.burst(10, 20.0)
        self._converged()
        if as_said and self._serving() != before:
            raise Violation("lost-store", f"{before} served, the same file was said again, and {self._serving()} serve")
        self._no_leak()
        if NEIGHBOUR in sim.projects:
            self._neighbour()

    def _serving(self) -> list[str]:
        reals = self._sim.engine.reals.values()
        return sorted(real.id for real in reals if real.spec.project == PROJECT and real.serves)

    def _pass(self, for_s: float) -> None:
        until_s = self._sim.world.now_s + for_s
        while self._sim.until(until_s):
            pass

    def _heal(self) -> None:
        sim = self._sim
        sim.world.say("world", "heals")
        sim.faults.heal()
        sim.engine.down_until_s = 0.0
        for controller in list(sim.controllers):
            # One without a lease that outlived its successor, and that has had no reason to find that out.
            if controller.core.epoch != sim.store.newest_epoch:
                controller.die("another controller has the lease")
        sim.wake()
        self._pass(10.0)
        if sim.leader_or_none() is None:
            self._pass(100.0)
        self._resume()

    def _resume(self) -> None:
        book = self._book()
        if not book.gone and not book.project.leaving:
            self._sim.scenario.resume()

    def _nothing_open(self) -> None:
        """Nothing of a project that is down is still waited for."""
        if not self._book().gone or self._sim.leader().core.epoch != self._sim.store.newest_epoch:
            return
        self._pass(5.0)
        # As `controller.runtime` does every few seconds: an outcome that a full disk kept out is written then.
        self._sim.leader().core.confirm_lease(self._sim.wall_s())
        if self._sim.store.open_intents(PROJECT) and not self._sim.leader().flying:
            raise Violation("leak", f"down, and open: {self._sim.store.open_intents(PROJECT)}")

    def _book(self) -> Book:
        return self._sim.leader().core.book(PROJECT)

    def _settle(self, when: str) -> None:
        """Every release and operation ends within its bound."""
        sim = self._sim
        until_s = sim.world.now_s + BOUND_S
        while sim.until(until_s):
            if sim.scenario.pending == 0 and sim.leader_or_none() is not None and not self._unsettled(self._book()):
                return
        raise Violation("stuck", f"{when}: {self._unsettled(self._book())}")

    def _unsettled(self, book: Book) -> str:
        for operation in book.operations.values():
            if operation.ended_at_s is None and operation.state != "paused":
                return f"{operation.kind} {operation.id} is {operation.state}: {operation.message}"
        if book.gone:
            return ""
        transaction = book.project.transaction
        if transaction is not None and transaction.phase in _UNDER_WAY:
            return f"release {transaction.release} is {transaction.phase}: {transaction.message}"
        if book.project.leaving:
            return "the project is still leaving"
        if transaction is not None and transaction.phase is not _T.PAUSED and not book.project.paused:
            for name, state in book.services.items():
                if state.rollout is not None and state.rollout.phase in (_R.PENDING, _R.PROGRESSING, _R.ROLLING_BACK):
                    return f"{name} is {state.rollout.phase}: {state.rollout.message}"
        return ""

    def _good(self) -> None:
        sim = self._sim
        sim.scenario.up_good()
        file = len(sim.scenario.files) - 1
        self._settle("a healthy file")
        newest = max(self._book().operations.values(), key=lambda operation: operation.started_at_s)
        if newest.state != "succeeded":
            raise Violation("not-converged", f"a healthy file, and its operation is {newest.state}: {newest.message}")
        sim.clients.burst(10, 20.0)
        self._converged()
        self._heals()
        plan = sim.leader().core.plan(UpRequest(project=sim.scenario.files[file]))
        if not plan.is_empty:
            raise Violation("plan-not-empty", f"{[(o.service, str(o.action), o.cause) for o in plan.operations]}")
        self._no_leak()

    def _heals(self) -> None:
        """A replica that dies without anybody's doing is followed by another, and so is that one, a little later."""
        sim = self._sim
        reals = [r for _, r in sorted(sim.engine.reals.items()) if r.serves and r.spec.project == PROJECT]
        if not reals:
            return
        victim = reals[sim.world.rng.randrange(len(reals))]
        for _ in range(2):
            victim = self._successor(victim)
        self._converged()

    def _successor(self, victim: Real) -> Real:
        """Who serves in the place of ``victim``, which dies now."""
        sim = self._sim
        sim.behaviour.fall(victim, Exit(cause=ExitCause.KILLED, code=-9))
        until_s = sim.world.now_s + PROMPT_S
        while True:
            for real in sim.engine.reals.values():
                if (real.service, real.spec.slot) == (victim.service, victim.spec.slot) and real.runs:
                    self._pass(BOOTED_S)
                    return real
            if not sim.until(until_s):
                raise Violation("late", f"{victim.id} died {PROMPT_S:g} s ago, and nothing has followed it")

    def _bad(self) -> None:
        """A broken file is taken back or waits for a person; what served before serves on."""
        sim = self._sim
        before = {name: state.target for name, state in self._book().services.items()}
        sim.scenario.up_bad()
        self._settle("a broken file")
        self._pass(60.0)
        self._settle("a broken file")
        transaction = self._book().project.transaction
        assert transaction is not None
        self._refused(transaction)
        if transaction.phase is _T.ROLLED_BACK:
            after = {name: state.target for name, state in self._book().services.items()}
            if after != before:
                raise Violation("not-rolled-back", f"{after} and not {before}")
            self._converged()
            self._no_leak()

    def _mended(self) -> None:
        """A broken file, and soon after it a healthy one: what the broken one did is not laid at its door."""
        sim = self._sim
        sim.scenario.up_bad()
        self._pass(sim.world.between(0.5, 60.0))
        self._resume()
        sim.world.at(sim.world.between(0.6, 4.0), self._end_an_old_one)
        self._good()

    def _end_an_old_one(self) -> None:
        """A replica of the revision that is about to go ends by itself: not the new one's failure."""
        sim = self._sim
        keys = {name: state.target.key for name, state in self._book().services.items() if state.target is not None}
        for _, real in sorted(sim.engine.reals.items()):
            old = real.spec.project == PROJECT and real.service in keys and real.key != keys[real.service]
            if old and real.serves and real.addresses:
                sim.behaviour.fall(real, Exit(cause=ExitCause.EXITED, code=0))
                return

    def _refused(self, transaction: Transaction) -> None:
        """What never gets ready is never released, unless the policy goes on in spite of failures."""
        name, how = self._sim.scenario.broken
        state = self._book().services.get(name)
        if state is None or state.target is None or name not in transaction.changed or how not in NEVER_READY:
            return
        update = self._book().definitions[state.target.definition_id].policy.update
        tolerant = update.max_failure_ratio > 0 or update.failure_action is FailureAction.CONTINUE
        if how == "ends" and not _keys(self._book(), state.target):
            return  # With `restart: on-failure` and no port this is a task that is done.
        counts = state.target.replicas > 0 or how == "port-taken"
        if transaction.phase is _T.SUCCEEDED and counts and not tolerant:
            raise Violation("released-broken", f"{name} is released and is {how}")

    def _down(self) -> None:
        sim = self._sim
        sim.scenario.down()
        self._settle("down")
        self._pass(5.0)
        left = sorted(real.id for real in sim.engine.reals.values() if real.spec.project == PROJECT)
        if not self._book().gone or left or sim.router.keys(PROJECT):
            raise Violation("left-behind", f"down: {left} {sim.router.keys(PROJECT)} gone={self._book().gone}")
        volumes = sorted(name for project, name in sim.engine.volumes if project == PROJECT)
        if volumes and sim.scenario.gives_up_volumes:
            raise Violation("left-behind", f"down: the volumes {volumes}, which were to go")
        documents = [k for kind in _KINDS for k in sim.store.documents(kind, PROJECT)]
        if documents or sim.store.open_intents(PROJECT):
            raise Violation("left-behind", f"{documents} {sim.store.open_intents(PROJECT)}")

    def _neighbour(self) -> None:
        """The second project serves as if nothing had happened, whatever did; or its first release failed by faults."""
        book = self._sim.leader().core.books.get(NEIGHBOUR)
        if book is not None and not book.gone and not self.neighbour_serves():
            raise Violation("neighbour", f"{NEIGHBOUR} does not serve as it should: {self._sim.router.ready}")

    def neighbour_serves(self) -> bool:
        """Whether every replica of the second project serves, and is in its pool."""
        sim = self._sim
        reals = [r for r in sim.engine.reals.values() if r.spec.project == NEIGHBOUR]
        serving = {r.id for r in reals if r.serves}
        pools = [set(sim.router.ready[key]) for key in sim.router.keys(NEIGHBOUR)]
        (service,) = sim.scenario.files[0].services.values()
        return len(reals) == len(serving) == service.replicas and pools == [serving]

    def _converged(self) -> None:
        """What really runs is what the targets say, and the pools hold exactly it."""
        sim = self._sim
        self._pass(SETTLED_FOR_S)
        book = self._book()
        for name, state in book.services.items():
            target = state.target
            if target is None:
                raise Violation("left-behind", f"{name} has no target and is still there")
            reals = [r for r in sim.engine.reals.values() if r.service == name and r.spec.project == PROJECT]
            right = [r for r in reals if r.key == target.key and (r.serves or _has_completed(r.id, state))]
            if len(right) != target.replicas or len(reals) != len(right):
                raise Violation("not-converged", f"{name}: {sorted(r.id for r in reals)} for {target}")
            pools = [pool for key, pool in sim.router.ready.items() if served_by(key) == name]
            if any(set(pool) != {r.id for r in right} for pool in pools):
                raise Violation("not-converged", f"{name}: pools {pools} for {sorted(r.id for r in right)}")

    def _no_leak(self) -> None:
        sim = self._sim
        controller = sim.leader()
        book = self._book()
        known = {i.id for state in book.services.values() for i in state.instances}
        real = {r.id for r in sim.engine.reals.values() if r.spec.project == PROJECT}
        if known != real:
            raise Violation("leak", f"the controller knows {sorted(known)}, there are {sorted(real)}")
        if sim.store.open_intents() or controller.core.open_keys(PROJECT):
            raise Violation("leak", f"open: {sim.store.open_intents()} {sorted(controller.core.open_keys(PROJECT))}")
        if controller.core.retry_at_s(PROJECT) is not None:
            raise Violation("leak", "a failed command is remembered that nobody will ask for again")
        now_s = sim.wall_s()
        wake_at_s = controller.core.wake_at_s(PROJECT, now_s)
        if wake_at_s is not None:
            raise Violation("leak", f"at rest, and to be woken in {wake_at_s - now_s:.3f} s")
        wanted = {route for state in book.services.values() for route in _keys(book, state.target)}
        if set(sim.router.keys(PROJECT)) != wanted:
            raise Violation("leak", f"routes {sim.router.keys(PROJECT)} for {sorted(wanted)}")


def _keys(book: Book, target: object) -> list[str]:
    definition = book.definitions.get(getattr(target, "definition_id", ""))
    return [route.key for route in definition.routes] if definition else []


def _has_completed(replica_id: str, state: object) -> bool:
    instances = getattr(state, "instances", ())
    return any(i.id == replica_id and i.phase is InstancePhase.COMPLETED for i in instances)


_R = RolloutPhase
_KINDS = ("project", "service", "definition", "release", "request")
