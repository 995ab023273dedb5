"""What the injector does by itself: it kills, sickens and hides replicas, restarts daemons, takes leases away.

Made by `sim`; every deed is told to `safety`, so that a loss is never laid at the controller's door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairlead.observed import Exit, ExitCause, ReplicaSpec
from tests.simulation.replicas import Real
from tests.simulation.router import PROJECT
from tests.simulation.world import START_S

if TYPE_CHECKING:
    from tests.simulation.sim import Sim

BELIEVED_GONE_AFTER_S = 0.9
EARLIEST_S = 200_000.0
"""No wall clock goes back beyond its epoch."""


class Chaos:
    """A deed every few seconds, until the world heals."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._refused_until_s: dict[str, float] = {}

    def begin(self) -> None:
        """Let the deeds begin."""
        if self._sim.faults.deeds:
            self._next()

    def _next(self) -> None:
        world = self._sim.world
        world.at(world.rng.expovariate(1 / self._sim.faults.deeds_every_s), self._do)

    def _do(self) -> None:
        sim = self._sim
        if sim.faults.healed:
            return
        deed = sim.faults.deeds[sim.world.rng.randrange(len(sim.faults.deeds))]
        if sim.faults.goes(deed):
            getattr(self, "_" + deed.replace("-", "_"))()
        self._next()

    def _victim(self) -> Real | None:
        reals = [r for _, r in sorted(self._sim.engine.reals.items()) if r.runs and r.signalled_at_s is None]
        ours = [real for real in reals if real.spec.project == "shop"]
        return ours[self._sim.world.rng.randrange(len(ours))] if ours else None

    def _crash(self) -> None:
        real = self._victim()
        if real is not None:
            self._sim.behaviour.fall(real, Exit(cause=ExitCause.KILLED, code=-9))

    def _oom(self) -> None:
        real = self._victim()
        if real is not None:
            self._sim.behaviour.fall(real, Exit(cause=ExitCause.OOM, code=-9))

    def crash_one(self, leaver: str) -> None:
        """A replica of the service that ``leaver`` is of dies, just as that one leaves the pool."""
        reals = self._sim.engine.reals
        left = reals.get(leaver)
        if left is None or left.spec.project != "shop":
            return
        others = [r for _, r in sorted(reals.items()) if r.service == left.service and r.serves and r is not left]
        if others:
            victim = others[self._sim.world.rng.randrange(len(others))]
            self._sim.world.at(
                self._sim.world.between(0.0, 0.3),
                lambda: self._sim.behaviour.fall(victim, Exit(cause=ExitCause.KILLED, code=-9)),
            )

    def is_last(self, leaver: str, pooled: set[str]) -> bool:
        """Whether others have replaced ``leaver`` and all like it in the pools."""
        reals = self._sim.engine.reals
        left = reals.get(leaver)
        if left is None or left.spec.project != PROJECT:
            return False
        keys = {reals[r].key for r in pooled if r in reals and reals[r].service == left.service}
        return bool(keys) and left.key not in keys

    def exit_at_drain(self, leaver: str) -> None:
        """A replica that left the pool ends by itself and waits for no signal."""
        real = self._sim.engine.reals.get(leaver)
        if real is not None and real.runs and real.spec.project == "shop":
            done = Exit(cause=ExitCause.EXITED, code=0)
            self._sim.world.at(self._sim.world.between(0.0, 2.0), lambda: self._sim.behaviour.fall(real, done))

    def lose_sight(self, leaver: str) -> None:
        """A replica that left the pool with something open is in no list, and the router has nothing to say of it."""
        sim = self._sim
        real = sim.engine.reals.get(leaver)
        if real is None or not real.runs or not real.requests or real.spec.project != PROJECT:
            return
        hidden_s, silent_s = sim.world.between(1.0, 5.0), sim.world.between(1.0, 5.0)
        sim.world.injected(f"{leaver} is in no list for {hidden_s:.3f} s, and the router silent for {silent_s:.3f} s")
        real.hidden_until_s = sim.world.now_s + hidden_s
        sim.router.silent_until_s = sim.world.now_s + silent_s
        sim.world.at(hidden_s + 0.001, sim.news)
        sim.world.at(silent_s + 0.001, sim.wake)

    def on_way_back(self, service: str, key: tuple[str, int]) -> None:
        """What a release is taken back to fails too: what runs of it dies, and for a while nothing of it starts."""
        sim = self._sim
        if not sim.faults.hit("fails-going-back"):
            return
        world = sim.world
        world.injected(f"{service} fails on its way back")
        self._refused_until_s[service] = world.now_s + world.between(0.0, 8.0)
        for _, real in sorted(sim.engine.reals.items()):
            if real.service == service and real.key == key and real.runs and world.rng.random() < 0.8:
                self._fall_soon(real)

    def _fall_soon(self, real: Real) -> None:
        how = Exit(cause=ExitCause.OOM, code=-9)
        self._sim.world.at(self._sim.world.between(0.0, 0.08), lambda: self._sim.behaviour.fall(real, how))

    def refuses(self, spec: ReplicaSpec) -> bool:
        """Whether ``spec`` cannot be started because its release is to fail on its way back."""
        service = spec.revision.service.name
        return spec.project == PROJECT and self._sim.world.now_s < self._refused_until_s.get(service, 0.0)

    def _host_oom(self) -> None:
        """The machine has no memory left, and its kernel takes one after the other."""
        for _ in range(self._sim.world.rng.randrange(1, 4)):
            self._oom()

    def _sick(self) -> None:
        real = self._victim()
        if real is not None and real.accepts and not real.sick and not real.hung:
            self._sim.behaviour.sicken(real)
            world = self._sim.world
            world.at(world.between(0.1, 20.0), lambda: self._sim.behaviour.recover(real))

    def _hang(self) -> None:
        real = self._victim()
        if real is not None and not real.hung:
            self._sim.behaviour.hang(real)

    def _deleted(self) -> None:
        real = self._victim()
        if real is not None:
            self._sim.lost(real, f"{real.id} is deleted by somebody else")
            self._sim.engine.vanish(real)

    def _hidden(self) -> None:
        real = self._victim()
        if real is None:
            return
        world = self._sim.world
        for_s = world.between(0.05, 4.0)
        self._sim.lost(real, f"{real.id} is left out of lists for {for_s:.3f} s")
        real.hidden_until_s = world.now_s + for_s
        if for_s > BELIEVED_GONE_AFTER_S:
            real.doomed = True
        world.at(for_s + 0.001, self._sim.news)
        until_s = real.hidden_until_s
        world.at(for_s + 5.0, lambda: self._forgive(real, until_s))

    def _forgive(self, real: Real, until_s: float) -> None:
        """It was hidden for long, until ``until_s``, and the controller has kept it all the same: it counts again.

        Not where it was hidden once more since: that may be what makes the controller give it up."""
        if real.hidden_until_s == until_s and not real.hung and self._sim.capacity.is_ready(real):
            real.doomed = False

    def _daemon_restart(self) -> None:
        sim = self._sim
        sim.world.injected("the engine's daemon restarts")
        sim.engine.down_until_s = sim.world.now_s + sim.world.between(0.5, 6.0)
        if sim.world.rng.random() < 0.5:
            for _, real in sorted(sim.engine.reals.items()):
                if real.runs and real.spec.project == "shop":
                    sim.behaviour.fall(real, Exit(cause=ExitCause.KILLED, code=-15))

    def _router_restart(self) -> None:
        sim = self._sim
        sim.world.injected("the router restarts empty")
        sim.capacity.touch_all()
        sim.router.restart_empty()

    def _second_leader(self) -> None:
        if self._sim.world.rng.random() < 0.5:
            self._sim.world.injected("a second controller takes the lease")
            self._sim.spawn()

    def _controller_crash(self) -> None:
        for controller in list(self._sim.controllers):
            self._sim.world.injected(f"{controller.name} crashes")
            controller.die("crash")

    def _clock_jump(self) -> None:
        """Seen by the next controller only: a running one measures time by a clock that cannot jump."""
        sim = self._sim
        jump_s = sim.world.rng.choice((-100_000.0, -300.0, -5.0, 5.0, 300.0, 100_000.0))
        if START_S + sim.next_offset_s + jump_s < EARLIEST_S:
            jump_s = -jump_s
        sim.world.injected(f"the wall clock jumps by {jump_s:g} s")
        sim.next_offset_s += jump_s
        self._controller_crash()
