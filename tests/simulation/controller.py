"""One simulated controller process: the real core, driven by the event heap as `controller.driver` drives it.

It looks when there is a reason or when the core says that it is time, carries out what the core hands out, and
dies when a fault says so; what it had asked for by then still lands.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from fairlead.controller.book import read_books
from fairlead.controller.core import Core, Order
from fairlead.errors import FairleadError, StoreConflictError, StoreError
from fairlead.observed import Health, Observation, ObservedReplica, ReplicaHealth, ReplicaState
from fairlead.rollout import commands
from fairlead.routing import RouteStatus
from tests.simulation.world import Crash, Violation

if TYPE_CHECKING:
    from fairlead.controller.book import Book
    from tests.simulation.sim import Sim

CORES = 2
REST_S = 30.0
TROUBLE_S = 1.0
PREPARE_S = 1.0

_RUNNING = ReplicaState.RUNNING
_PROBED = {health: ReplicaHealth(health=health, reason="probed") for health in Health}


class SimController:
    """``core``: the real one. :meth:`wake` gives it a reason to look."""

    def __init__(self, sim: Sim, name: str) -> None:
        self._sim = sim
        self.name = name
        self.alive = True
        self._looking: set[str] = set()
        self._cleaning: set[str] = set()
        self._put_away: set[str] = set()
        self._lives: dict[str, int] = {}
        self._prepared_s: dict[str, float] = {}
        self._timers: dict[str, int] = {}
        self.core = Core(sim.store, holder=name, cores=CORES, now_s=sim.wall_s())
        self.flying: dict[int, Order] = {}
        self._recover()
        for project, book in sorted(self.core.books.items()):
            pending = [book.operations[operation_id] for operation_id in book.requests]
            for operation in sorted(pending, key=lambda operation: operation.started_at_s):
                self.prepare(project, operation.id, int(book.requests[operation.id]["file"]))
        self.wake()

    def _recover(self) -> None:
        """Go on with what runs and is not known, as `controller.recover` does."""
        for project in self._sim.projects:
            book = self.core.books.get(project)
            specs = self._sim.engine.recall(project) if book is None or book.gone else ()
            if specs:
                routes = self._sim.router.observe(project)
                self.core.adopt(project, "memory", specs, routes, self._sim.wall_s())

    def wake(self) -> None:
        """There is a reason to look."""
        if not self.alive:
            return
        for project in self._sim.projects:
            if project not in self._looking:
                self._looking.add(project)
                self._sim.world.at(self._sim.world.between(0.001, 0.012), partial(self._look, project))

    def prepare(self, project: str, operation_id: str, file: int) -> None:
        """Begin the release of an operation that is open, once everything it needs is there."""
        world = self._sim.world
        # In the order in which they came, as `controller.intake` has it: an older one never overtakes a newer one.
        ready_s = max(world.now_s + world.between(0.0, PREPARE_S), self._prepared_s.get(project, 0.0))
        self._prepared_s[project] = ready_s + 0.001
        world.at(ready_s - world.now_s, lambda: self._begin(project, operation_id, file))

    def crash(self, observation: Observation | None = None) -> None:
        """It dies in a commit. Where that was kept, what it had decided counts, though it did not live to do it."""
        self.core.books = read_books(self._sim.store, CORES)
        self._sim.safety.after_step(self, observation)
        self.die("crash")

    def die(self, why: str) -> None:
        """The process ends now; another will come."""
        if not self.alive:
            return
        self.alive = False
        self._sim.world.say(self.name, f"ends: {why}")
        self._sim.on_death(self)

    def _begin(self, project: str, operation_id: str, file: int) -> None:
        if not self.alive or operation_id not in self.core.book(project).requests:
            return
        if self.core.is_empty(project):
            self.prepare(project, operation_id, file)
            return
        try:
            self._sim.scenario.begin(self.core, project, operation_id, file, self._sim.wall_s())
        except Crash:
            self.crash()
        except StoreConflictError:
            self.die("another controller has the lease")
        except StoreError:
            self.prepare(project, operation_id, file)
        else:
            self._sim.safety.after_step(self, None)
            self.wake()

    # Looking

    def _look(self, project: str) -> None:
        if not self.alive:
            return
        sim = self._sim
        self._looking.discard(project)
        if project in self._cleaning:
            return
        taken_s = sim.wall_s()
        try:
            replicas = sim.engine.observe(project)
        except FairleadError:
            sim.world.at(TROUBLE_S, self.wake)
            return
        if sim.faults.hit("look-overtaken"):
            self._be_overtaken(project, replicas, taken_s)
        elif sim.faults.hit("look-slow"):
            self._looking.add(project)
            # Whichever is asked first, its answer is old by the time the other one is there.
            routes = sim.router.observe(project) if sim.world.rng.random() < 0.5 else None
            sim.world.at(sim.world.between(0.05, 1.5), lambda: self._take(project, replicas, taken_s, routes))
        else:
            self._take(project, replicas, taken_s)

    def _be_overtaken(self, project: str, replicas: tuple[ObservedReplica, ...], taken_s: float) -> None:
        """What was seen comes late, and newer looks come before it; not into the next life of a project, though."""
        world = self._sim.world
        routes = self._sim.router.observe(project)
        life = self._lives.get(project)

        def arrive() -> None:
            if self._lives.get(project) == life:
                self._take(project, replicas, taken_s, routes)

        world.at(world.between(0.05, 3.0), arrive)
        self.wake()

    def _take(
        self,
        project: str,
        replicas: tuple[ObservedReplica, ...],
        taken_s: float,
        routes: Mapping[str, RouteStatus] | None = None,
    ) -> None:
        if not self.alive:
            return
        sim = self._sim
        self._looking.discard(project)
        silent = sim.faults.hit("router-silent") or sim.world.now_s < sim.router.silent_until_s
        if routes is None:
            routes = sim.router.observe(project)
        observation = Observation(
            project=project,
            replicas=replicas,
            health=self._health(replicas),
            routes={} if silent else routes,
            taken_at_s=taken_s,
            routes_known=not silent,
        )
        sim.looks += 1
        before = self.core.books.get(project)
        was_gone = self._is_gone(project)
        try:
            orders = self.core.observe(observation, sim.wall_s(), put_away=project in self._put_away)
        except Crash:
            self.crash(observation)
            return
        except StoreConflictError:
            self.die("another controller has the lease")
            return
        except StoreError:
            self._unwritten(project, before)
            sim.world.at(TROUBLE_S, self.wake)
            return
        sim.safety.after_step(self, observation)
        for order in orders:
            sim.safety.on_order(self, order)
        for order in orders:
            self._carry_out(order)
        if not was_gone and self._is_gone(project):
            self._lives[project] = self._lives.get(project, 0) + 1
        if not self.core.is_empty(project):
            self._put_away.discard(project)
        elif project not in self._cleaning:
            self._clean_up(project)
        self._set_timer(project)

    def _unwritten(self, project: str, before: Book | None) -> None:
        """A commit failed: what cannot be written down has not happened."""
        if self.core.books.get(project) is not before:
            raise Violation("not-stored", f"{self.name} knows more of {project} than could be written down")

    def _is_gone(self, project: str) -> bool:
        book = self.core.books.get(project)
        return book is None or book.gone

    def _clean_up(self, project: str) -> None:
        """Put away what the project leaves behind, as `controller.driver` does; until then it is not down."""
        sim = self._sim
        self._cleaning.add(project)
        if sim.faults.hit("crash-before-effect"):
            sim.world.injected(f"{self.name} dies before it puts away what {project} leaves behind")
            self.die("crash")
            return
        takes_s = sim.world.between(0.001, 0.05) if sim.world.rng.random() < 0.7 else sim.world.between(0.05, 3.0)
        sim.world.at(takes_s, lambda: self._put_it_away(project))

    def _put_it_away(self, project: str) -> None:
        sim = self._sim
        if not self.alive:
            return
        sim.engine.clean_up(project, volumes=self.core.book(project).project.remove_volumes)
        self._cleaning.discard(project)
        self._put_away.add(project)
        if sim.faults.hit("crash-after-effect"):
            sim.world.injected(f"{self.name} dies when it has put away what {project} leaves behind")
            self.die("crash")
        self.wake()

    def _health(self, replicas: tuple[ObservedReplica, ...]) -> dict[str, ReplicaHealth]:
        now_s, reals = self._sim.world.now_s, self._sim.engine.reals
        running = [replica.id for replica in replicas if replica.state is _RUNNING]
        return {key: _PROBED[reals[key].verdict(now_s)] for key in running if key in reals}

    def _set_timer(self, project: str) -> None:
        sim = self._sim
        now_s = sim.wall_s()
        wake_at_s = self.core.wake_at_s(project, now_s)
        if wake_at_s is not None and wake_at_s <= now_s:
            self.wake()
            return
        timer = self._timers[project] = self._timers.get(project, 0) + 1
        pause_s = REST_S if wake_at_s is None else min(REST_S, wake_at_s - now_s)
        sim.world.at(pause_s, lambda: self.wake() if timer == self._timers[project] else None)

    # Acting

    def _carry_out(self, order: Order) -> None:
        sim = self._sim
        if not self.alive:
            return
        if sim.faults.hit("crash-before-effect"):
            sim.world.injected(f"{self.name} dies before {order.command.key}")
            self.die("crash")
            return
        self.flying[order.intent] = order
        self._call(order)
        if sim.faults.hit("crash-after-effect"):
            sim.world.injected(f"{self.name} dies around {order.command.key}")
            sim.world.at(sim.world.between(0.0, 0.1), lambda: self.die("crash"))

    def _call(self, order: Order) -> None:
        sim = self._sim
        sim.world.say(self.name, f"{order.command.key}  [{order.command.cause}]")

        def reply(error: FairleadError | None) -> None:
            self._settle(order, error)

        match order.command:
            case commands.StartReplica():
                sim.engine.start(self.core.replica_spec(order), reply)
            case commands.StopReplica(replica_id=replica_id, grace_s=grace_s):
                sim.engine.stop(order.project, replica_id, grace_s, reply)
            case commands.RemoveReplica(replica_id=replica_id):
                sim.engine.remove(order.project, replica_id, reply)
            case commands.ApplyRoutes(routes=routes):
                sim.router.apply(order.project, routes, reply)
            case commands.ShedStreams(replica_id=replica_id, share=share):
                sim.router.shed(replica_id, share, reply)

    def _settle(self, order: Order, error: FairleadError | None) -> None:
        if not self.alive or order.intent not in self.flying:
            return
        sim = self._sim
        del self.flying[order.intent]
        if error is not None:
            sim.world.say(self.name, f"hears of {order.command.key}: {error.message}")
        before = self.core.books.get(order.project)
        try:
            self.core.settle(order.project, order.intent, order.command, error, sim.wall_s())
        except Crash:
            self.crash()
            return
        except StoreConflictError:
            self.die("another controller has the lease")
            return
        except StoreError:
            self._unwritten(order.project, before)
        else:
            if self._is_gone(order.project) and sim.store.is_open(order.intent):
                raise Violation("leak", f"{order.project} is down, and {order.command.key} is waited for for ever")
        sim.safety.after_step(self, None)
        self.wake()
