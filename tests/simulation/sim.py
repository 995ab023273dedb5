"""One simulated history: the world, its parts, and the two phases: faults first, then health and convergence.

Made by `run_seed`; the parts find each other here.
"""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass, field
from random import Random

from fairlead.errors import StoreError
from tests.simulation.behaviour import Behaviour
from tests.simulation.capacity import Capacity
from tests.simulation.chaos import Chaos
from tests.simulation.clients import Clients
from tests.simulation.controller import SimController
from tests.simulation.engine import SimEngine
from tests.simulation.faults import Faults
from tests.simulation.liveness import Liveness
from tests.simulation.rehearsal import Rehearsal
from tests.simulation.replicas import Real
from tests.simulation.router import NEIGHBOUR, PROJECT, SimRouter
from tests.simulation.safety import Safety
from tests.simulation.scenario import Scenario
from tests.simulation.store import SimStore
from tests.simulation.world import Crash, Violation, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a seed. ``failure`` is empty where every promise was kept."""

    seed: int
    failure: str
    rule: str
    rollouts: int
    looks: int
    events: int
    sent: int
    failed: int
    cpu_s: float = 0.0
    trace: tuple[str, ...] = field(default=())


class Sim:
    """``changed``: something happened after which the promises have to be checked."""

    def __init__(self, seed: int, *, traced: bool = False, rehearsal: Rehearsal | None = None) -> None:
        self.world = World(seed, traced=traced, rng=rehearsal.rng if rehearsal else Random(f"{seed}:world"))
        self.faults = rehearsal.faults if rehearsal else Faults(seed)
        self.changed = False
        self.rollouts = 0
        self.looks = 0
        self.offset_s = 0.0
        self.next_offset_s = 0.0
        self.gone: set[str] = set()
        self.projects = (PROJECT, NEIGHBOUR) if self.faults.has_neighbour else (PROJECT,)
        self.controllers: list[SimController] = []
        self._births = 0
        self.capacity = Capacity(self)
        self.safety = Safety(self)
        self.engine = SimEngine(self)
        self.router = SimRouter(self)
        self.store = SimStore(self.faults, self.world.injected)
        self.behaviour = Behaviour(self)
        self.clients = Clients(self)
        self.chaos = Chaos(self)
        self.scenario = Scenario(self)
        self.liveness = Liveness(self)

    def wall_s(self) -> float:
        """The wall clock of whoever decides now."""
        return self.world.now_s + self.offset_s

    # Controllers

    def leader_or_none(self) -> SimController | None:
        """The newest controller that is alive."""
        return self.controllers[-1] if self.controllers else None

    def leader(self) -> SimController:
        return self.controllers[-1]

    def spawn(self) -> None:
        """Start a controller; an older one that is alive does not know yet."""
        self._births += 1
        self.offset_s = self.next_offset_s
        armed, self.store.armed = self.store.armed, False
        try:
            controller = SimController(self, f"ctl{self._births}")
        except StoreError:
            self.world.at(1.0, self.spawn)
            return
        finally:
            self.store.armed = True if armed else self._births > 0
        self.world.say(controller.name, f"starts with epoch {controller.core.epoch}")
        self.controllers.append(controller)

    def lose_store(self) -> None:
        """Somebody deletes the record of everything; what runs is all that is left."""
        self.world.injected("the store is deleted")
        for controller in list(self.controllers):
            controller.die("its store is deleted")
        self.store = SimStore(self.faults, self.world.injected)
        self.safety.forget()
        self.capacity.forget()

    def on_death(self, controller: SimController) -> None:
        self.controllers.remove(controller)
        if not self.controllers:
            out_s = self.world.between(0.05, 3.0)
            if not self.faults.healed and self.world.rng.random() < 0.1:
                out_s = self.world.between(20.0, 90.0)
            self.world.at(out_s, self._respawn)

    def _respawn(self) -> None:
        if not self.controllers:
            self.spawn()

    def wake(self) -> None:
        """Every controller looks."""
        for controller in self.controllers:
            controller.wake()

    def news(self) -> None:
        """The engine or a probe has something to tell, if it is not lost on the way."""
        world, faults = self.world, self.faults
        if faults.hit("event-lost"):
            return
        world.at(world.between(1.0, 8.0) if faults.hit("event-late") else 0.001, self.wake)
        if faults.hit("event-twice"):
            world.at(world.between(0.0, 2.0), self.wake)

    def lost(self, real: Real, what: str) -> None:
        """The injector takes ``real`` away from its service."""
        self.world.injected(what)
        self.gone.add(real.id)
        self.capacity.touch(real.service)
        self.changed = True

    # The run

    def run(self) -> None:
        """The whole history.

        :raises Violation: a promise was broken.
        """
        self.spawn()
        self.chaos.begin()
        self.scenario.start()
        self.liveness.run()

    def until(self, until_s: float) -> bool:
        """Let the next event happen, if it is due by ``until_s``; check the promises."""
        action = self.world.next(until_s)
        if action is None:
            return False
        action()
        if self.changed:
            self.changed = False
            self.capacity.check()
        return True


def _tell_state(sim: Sim) -> None:
    """What the controller believes in the end."""
    controller = sim.leader_or_none()
    book = controller.core.books.get(PROJECT) if controller is not None else None
    if book is None:
        return
    sim.world.say("state", f"{book.project.transaction} paused={book.project.paused} leaving={book.project.leaving}")
    for name, state in sorted(book.services.items()):
        sim.world.say("state", f"{name}: {state.target} {state.rollout} {state.restarts} leaving={state.leaving}")
        for instance in state.instances:
            sim.world.say("state", f"  {instance}")


def run_seed(seed: int, *, traced: bool = False, rehearsal: Rehearsal | None = None) -> Result:
    """Live through one seed, or through a ``rehearsal`` of it, and say what came of it."""
    sim = Sim(seed, traced=traced, rehearsal=rehearsal)
    failure = rule = ""
    try:
        sim.run()
    except Violation as violation:
        failure, rule = str(violation), violation.rule
    except Crash:
        failure = rule = "crash outside of a controller"
    except Exception as error:
        where = traceback.extract_tb(sys.exc_info()[2])[-1]
        rule = type(error).__name__
        failure = f"{rule}: {error} ({where.name}, line {where.lineno})"
        sim.world.say("error", "".join(traceback.format_exception(error)))
    if failure and traced:
        _tell_state(sim)
    sim.world.say("end", failure or "every promise was kept")
    return Result(
        seed=seed,
        failure=failure,
        rule=rule,
        rollouts=sim.rollouts,
        looks=sim.looks,
        events=sim.world.events,
        sent=sim.clients.sent,
        failed=sim.clients.failed,
        trace=tuple(sim.world.trace or ()),
    )
