"""The simulated engine: what really runs, and every way in which a call to it may go wrong.

Calls about one replica take effect in the order in which they were made, even those whose caller has given up
waiting or died: that much every engine's lock on a name gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fairlead.errors import DeadlineError, EngineError, EngineUnavailableError, FairleadError, StartFailedError
from fairlead.observed import Exit, ExitCause, Health, ObservedReplica, ReplicaSpec
from tests.simulation.replicas import Real
from tests.simulation.router import PROJECT

if TYPE_CHECKING:
    from tests.simulation.sim import Sim

Reply = Callable[[FairleadError | None], None]
STALE_FOR_S = 2.0


class SimEngine:
    """``reals``: every replica that exists, by id; ``vanished``: those that somebody else removed. ``strangers``:
    containers without labels, by name, which may be what a replica of ours is called. ``volumes``: those that exist, by
    project and name."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self.reals: dict[str, Real] = {}
        self.vanished: dict[str, Real] = {}
        self._ordered: list[Real] | None = None
        self.down_until_s = 0.0
        self._number = 0
        self._busy: dict[str, float] = {}
        self._waiting: dict[str, list[Reply]] = {}
        self._listed: dict[str, list[tuple[float, tuple[ObservedReplica, ...]]]] = {}
        self.strangers: dict[str, str] = {}
        self.volumes: set[tuple[str, str]] = set()
        self._unseen: dict[str, tuple[float, ObservedReplica]] = {}

    # What the controller asks for

    def observe(self, project: str) -> tuple[ObservedReplica, ...]:
        """The list, as the engine gives it."""
        world, faults = self._sim.world, self._sim.faults
        now_s = world.now_s
        if now_s < self.down_until_s or faults.hit("list-fails"):
            world.injected("the engine does not list")
            raise EngineUnavailableError("the engine does not answer")
        listed = self._listed.get(project, [])
        if listed and faults.hit("list-stale"):
            since_s, kept = listed[world.rng.randrange(len(listed))]
            if now_s - since_s < STALE_FOR_S:
                world.injected(f"the list is {now_s - since_s:.3f} s old")
                return kept
        if listed and faults.hit("list-lags"):
            newest = listed[-1][1]
            for since_s, kept in reversed(listed):
                if kept != newest and now_s - since_s < STALE_FOR_S:
                    world.injected(f"the list is one change behind, {now_s - since_s:.3f} s old")
                    return kept
        found = tuple(
            [
                real.observed()
                for real in self._in_order()
                if real.hidden_until_s <= now_s and real.spec.project == project
            ]
        )
        if self._unseen:
            found = tuple(self._as_seen(replica) for replica in found)
        self._listed[project] = [*listed[-3:], (now_s, found)]
        return found

    def _as_seen(self, replica: ObservedReplica) -> ObservedReplica:
        """``replica``, or what it was where its end has not come through to lists yet."""
        until_s, before = self._unseen.get(replica.id, (0.0, replica))
        return before if self._sim.world.now_s < until_s else replica

    def _in_order(self) -> list[Real]:
        """All replicas, by id; most looks find the same ones as the last."""
        if self._ordered is None:
            self._ordered = [real for _, real in sorted(self.reals.items())]
        return self._ordered

    def _touch(self, project: str, replica_id: str) -> None:
        real = self.reals.get(replica_id)
        whose = f"of {real.spec.project}" if real is not None else self.strangers.get(replica_id, "unknown to it")
        self._sim.safety.on_touch(project, replica_id, whose)

    def recall(self, project: str) -> tuple[ReplicaSpec, ...]:
        """What the replicas of ``project`` were started from."""
        return tuple(real.spec for real in self._in_order() if real.spec.project == project)

    def start(self, spec: ReplicaSpec, reply: Reply) -> None:
        self._call(spec.id, lambda answer: self._start(spec, answer), reply)

    def stop(self, project: str, replica_id: str, grace_s: float, reply: Reply) -> None:
        self._touch(project, replica_id)
        self._call(replica_id, lambda answer: self._stop(replica_id, grace_s, answer), reply)

    def remove(self, project: str, replica_id: str, reply: Reply) -> None:
        self._touch(project, replica_id)
        self._call(replica_id, lambda answer: self._remove(replica_id, answer), reply)

    def clean_up(self, project: str, *, volumes: bool) -> None:
        """What is left of a project that is down: its volumes too where ``volumes`` says so."""
        gone = {place for place in self.volumes if place[0] == project} if volumes else set()
        self.volumes -= gone
        for place in sorted(gone):
            self._sim.safety.on_volume_removed(*place)

    def _call(self, replica_id: str, effect: Callable[[Reply], None], reply: Reply) -> None:
        world, faults = self._sim.world, self._sim.faults
        if world.now_s < self.down_until_s or faults.hit("engine-fails"):
            world.injected(f"the engine fails before the effect: {replica_id}")
            world.at(world.between(0.005, 0.1), lambda: reply(EngineUnavailableError("the engine does not answer")))
            return
        lands_s = world.between(0.005, 0.08)
        heard: Reply = reply
        if faults.hit("engine-slow"):
            lands_s = world.between(1.0, 10.0)
            world.injected(f"the engine is slow: {replica_id}")
        late, lost = faults.hit("engine-late"), faults.hit("engine-reply-lost")
        if late or lost:
            lands_s = world.between(3.0, 8.0) if late else lands_s
            gives_up_s = world.between(1.0, 3.0) if late else lands_s + world.between(1.0, 3.0)
            world.injected(f"the engine's answer is lost, the effect lands in {lands_s:.3f} s: {replica_id}")
            world.at(gives_up_s, lambda: reply(DeadlineError("no answer in time")))
            heard = _nobody
        at_s = max(world.now_s + lands_s, self._busy.get(replica_id, 0.0) + 0.001)
        self._busy[replica_id] = at_s
        world.at(at_s - world.now_s, lambda: effect(heard))

    def _start(self, spec: ReplicaSpec, reply: Reply) -> None:
        sim = self._sim
        if spec.id in self.reals:
            reply(None)
            return
        if sim.faults.hit("name-taken"):
            # The adapter finds another name: identity is in labels.
            self.strangers[spec.id] = "nobody's"
            sim.world.injected(f"a container that is nobody's is called {spec.id}")
        bad = spec.revision.service.environment.get("BAD")
        if bad == "no-start" or sim.faults.hit("start-refused") or sim.chaos.refuses(spec):
            sim.world.injected(f"{spec.id} cannot be started")
            reply(StartFailedError(f"{spec.id}: cannot be started"))
            return
        self._number += 1
        real = Real(spec, self._number, sim.world.now_s, exclusive=_writes(spec))
        real.health_lag_s = sim.world.between(0.01, 0.6)
        self.reals[real.id] = real
        self._ordered = None
        self.volumes |= {(spec.project, mount.source or mount.target) for mount in spec.revision.service.volumes}
        sim.world.say("engine", f"starts {real.id} ({spec.revision.id})")
        sim.safety.on_start(real)
        sim.behaviour.begin(real, bad)
        sim.news()
        reply(None)

    def _stop(self, replica_id: str, grace_s: float, reply: Reply) -> None:
        sim = self._sim
        real = self.reals.get(replica_id)
        if real is None or not real.runs:
            reply(None)
            return
        self._waiting.setdefault(replica_id, []).append(reply)
        if real.signalled_at_s is not None:
            return
        sim.safety.on_signal(real)
        real.signalled_at_s = sim.world.now_s
        sim.world.say("engine", f"signals {replica_id}")
        sim.changed = True
        takes_s = sim.world.between(0.01, 0.5)
        if real.spec.project == PROJECT and sim.faults.hit("abort-at-exchange"):
            sim.world.at(takes_s + sim.world.between(-0.01, 0.15), sim.scenario.abort)
        if real.ignores_term or real.hung:
            takes_s = grace_s
        how = Exit(cause=ExitCause.EXITED, code=-9 if takes_s == grace_s else 0)
        sim.world.at(takes_s, lambda: self.end(real, how, "ends"))

    def _remove(self, replica_id: str, reply: Reply) -> None:
        sim = self._sim
        real = self.reals.get(replica_id)
        if real is None:
            reply(None)
        elif real.runs:
            reply(EngineError(f"{replica_id} still runs"))
        else:
            sim.safety.on_remove(real)
            del self.reals[replica_id]
            self._ordered = None
            sim.world.say("engine", f"removes {replica_id}")
            reply(None)

    # What happens by itself

    def end(self, real: Real, how: Exit, words: str) -> None:
        """``real`` ends now, whoever's doing it is."""
        sim = self._sim
        if not real.runs:
            return
        if real.signalled_at_s is not None and real.spec.project == PROJECT and sim.faults.hit("ends-unseen"):
            for_s = sim.world.between(0.02, 1.0)
            sim.world.injected(f"lists show {real.id} as running for {for_s:.3f} s more")
            self._unseen[real.id] = (sim.world.now_s + for_s, real.observed())
            sim.world.at(for_s + 0.001, sim.news)
        real.end(how)
        real.health_log.append((sim.world.now_s, Health.UNKNOWN))
        sim.world.say("engine", f"{real.id} {words}: {how}")
        sim.changed = True
        sim.clients.on_end(real)
        for reply in self._waiting.pop(real.id, []):
            reply(None)
        sim.news()

    def vanish(self, real: Real) -> None:
        """Somebody else removes ``real``."""
        self.end(real, Exit(cause=ExitCause.GONE), "is deleted by somebody else")
        if self.reals.pop(real.id, None) is not None:
            self.vanished[real.id] = real
            self._ordered = None


def _writes(spec: ReplicaSpec) -> bool:
    service = spec.revision.service
    return service.replicas == 1 and any(not mount.read_only for mount in service.volumes)


def _nobody(error: FairleadError | None) -> None:
    """Whoever asked has stopped listening."""
