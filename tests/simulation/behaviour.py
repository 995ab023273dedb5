"""What replicas do by themselves: boot, get ready, and, where the revision or the injector is bad, fail.

Used by `engine` when a replica starts and by `chaos` when one is to fail.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fairlead.observed import Exit, ExitCause, Health
from tests.simulation.replicas import Real
from tests.simulation.router import PROJECT

if TYPE_CHECKING:
    from tests.simulation.sim import Sim

BAD = ("no-start", "crash", "never-ready", "crash-later", "sick-later", "oom", "ends")
"""Ways in which a revision may be broken."""


class Behaviour:
    """The life of each replica."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim

    def begin(self, real: Real, bad: str | None) -> None:
        """``real`` has just been started."""
        world, faults = self._sim.world, self._sim.faults
        boot_s = world.between(0.1, 2.0)
        if faults.hit("slow-boot"):
            boot_s = world.between(5.0, 45.0)
            world.injected(f"{real.id} boots slowly")
        if bad:
            world.injected(f"{real.id} is of a broken revision: {bad}")
        real.ignores_term = faults.hit("ignores-term")
        if bad in ("crash", "oom", "ends"):
            how = {
                "crash": Exit(cause=ExitCause.EXITED, code=1),
                "oom": Exit(cause=ExitCause.OOM, code=-9),
                "ends": Exit(cause=ExitCause.EXITED, code=0),
            }[bad]
            self._later(world.between(0.02, 1.5), real, lambda: self.fall(real, how))
        elif real.spec.revision.service.environment.get("JOB"):
            done = Exit(cause=ExitCause.EXITED, code=0)
            if real.spec.revision.service.environment["JOB"] == "long":
                boot_s += world.between(2.0, 20.0)
            self._later(boot_s, real, lambda: self._sim.engine.end(real, done, "has done its work"))
        elif bad != "never-ready":
            self._later(boot_s, real, lambda: self._ready(real, bad))

    def fall(self, real: Real, how: Exit) -> None:
        """``real`` ends by itself, or by the injector's hand."""
        if real.runs:
            self._sim.lost(real, f"{real.id} falls")
            self._sim.engine.end(real, how, "falls")

    def sicken(self, real: Real) -> None:
        """``real`` answers with errors from now on."""
        self._sim.lost(real, f"{real.id} turns sick")
        real.sick = True
        self._turn(real, Health.UNREADY)

    def recover(self, real: Real) -> None:
        if real.runs and real.sick and not real.hung:
            real.sick = False
            self._turn(real, Health.READY)

    def hang(self, real: Real) -> None:
        """``real`` answers no more at all: its liveness probe will say so."""
        self._sim.lost(real, f"{real.id} hangs")
        real.hung = True
        real.doomed = True
        self._turn(real, Health.DEAD)

    def _ready(self, real: Real, bad: str | None) -> None:
        world = self._sim.world
        if real.signalled_at_s is not None or real.hung:
            return
        real.accepts = True
        real.has_served = True
        self._turn(real, Health.READY)
        if real.spec.project == PROJECT and self._sim.faults.hit("dies-when-ready"):
            killed = Exit(cause=ExitCause.KILLED, code=-9)
            self._later(world.between(0.0, 1.5), real, lambda: self.fall(real, killed))
        if real.spec.project == PROJECT and self._sim.faults.hit("pause-at-batch"):
            world.at(world.between(0.0, 1.0), self._sim.scenario.pause_a_while)
        if bad == "crash-later":
            how = Exit(cause=ExitCause.EXITED, code=1)
            self._later(world.between(0.5, 20.0), real, lambda: self.fall(real, how))
        elif bad == "sick-later":
            self._later(world.between(0.5, 20.0), real, lambda: self.sicken(real))

    def _turn(self, real: Real, health: Health) -> None:
        sim = self._sim
        real.turn(health, sim.world.now_s)
        sim.changed = True
        # The verdict comes later, and takes it out of the count when it is bad: still the injector's doing.
        sim.world.at(real.health_lag_s + 0.0001, lambda: self._told(real, health))
        sim.clients.on_capacity(real.service)

    def _told(self, real: Real, health: Health) -> None:
        sim = self._sim
        if health is not Health.READY:
            sim.capacity.touch(real.service)
        sim.changed = True
        sim.news()

    def _later(self, delay_s: float, real: Real, action: Callable[[], None]) -> None:
        def happen() -> None:
            if real.runs:
                action()

        self._sim.world.at(delay_s, happen)
