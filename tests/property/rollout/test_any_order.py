"""Whatever the order of events, the promises hold: Hypothesis looks for the shortest story that breaks one."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.simulation.byhand import PROJECT, ByHand, api

from fairlead.errors import EngineUnavailableError, NotFoundError, RefusedError
from fairlead.observed import ExitCause, Health, ReplicaState
from fairlead.rollout import commands
from fairlead.spec.model import Order, UpdateConfig

ORDERS = st.sampled_from((None, Order.START_FIRST, Order.STOP_FIRST))


class AnyOrder(RuleBasedStateMachine):
    """One service; every rule is one thing that may happen next."""

    def __init__(self) -> None:
        super().__init__()
        self.world = ByHand()
        self.version = 1

    @initialize(replicas=st.integers(1, 3), writes=st.booleans(), order=ORDERS)
    def first(self, replicas: int, writes: bool, order: Order | None) -> None:
        self.writes = writes and replicas == 1
        self.replicas = 1 if self.writes else replicas
        self.update = UpdateConfig(parallelism=1, order=order) if not self.writes else None
        self.release()

    @rule()
    def release(self) -> None:
        self.version += 1
        service = api(self.version, self.replicas, update=self.update, writes=self.writes)
        self.operator(lambda: self.world.up(service))

    @rule()
    def rollback(self) -> None:
        self.operator(lambda: self.world.core.rollback(PROJECT, None, self.world.now_s))

    @rule(number=st.integers(0, 3))
    def scale(self, number: int) -> None:
        count = min(number, 1) if self.writes else number
        self.operator(lambda: self.world.core.scale(PROJECT, {"api": count}, self.world.now_s))

    @rule()
    def pause(self) -> None:
        self.operator(lambda: self.world.core.pause(PROJECT, self.world.now_s))

    @rule()
    def resume(self) -> None:
        self.operator(lambda: self.world.core.resume(PROJECT, self.world.now_s))

    @rule(after_s=st.sampled_from((0.01, 0.2, 2.0, 40.0)), known=st.booleans())
    def look(self, after_s: float, known: bool) -> None:
        before = self.world.pool()
        for order in self.world.look(after_s, routes_known=known):
            if isinstance(order.command, commands.StopReplica):
                assert order.command.replica_id not in before, "signalled while it is in the pool"

    @rule()
    def carry_out(self) -> None:
        self.world.carry_out()

    @rule(kind=st.sampled_from((commands.ApplyRoutes, commands.StartReplica, commands.StopReplica)))
    def carry_out_some(self, kind: type[commands.Command]) -> None:
        self.world.carry_out(kind)

    @precondition(lambda self: self.world.orders)
    @rule()
    def fail(self) -> None:
        self.world.carry_out(error=EngineUnavailableError("no answer"))

    @rule()
    def get_ready(self) -> None:
        for key, replica in self.world.replicas.items():
            if replica.state is ReplicaState.RUNNING:
                self.world.health[key] = Health.READY

    @precondition(lambda self: self.running())
    @rule(which=st.integers(0, 9), health=st.sampled_from((Health.UNREADY, Health.DEAD, Health.STARTING)))
    def sicken(self, which: int, health: Health) -> None:
        running = self.running()
        self.world.health[running[which % len(running)]] = health

    @precondition(lambda self: self.running())
    @rule(which=st.integers(0, 9), cause=st.sampled_from((ExitCause.EXITED, ExitCause.KILLED, ExitCause.OOM)))
    def die(self, which: int, cause: ExitCause) -> None:
        running = self.running()
        self.world.end(running[which % len(running)], cause=cause)

    @rule(jump_s=st.sampled_from((0.0, -50_000.0, 50_000.0)))
    def crash(self, jump_s: float) -> None:
        self.world.restart_controller(jump_s)

    @invariant()
    def a_single_writer_is_alone(self) -> None:
        if getattr(self, "writes", False):
            assert len(self.running()) <= 1

    @invariant()
    def no_invariant_of_the_core_is_broken(self) -> None:
        broken = [event.message for event in self.world.store.events() if event.kind == "invariant-violated"]
        assert broken == []

    def running(self) -> list[str]:
        return sorted(key for key, r in self.world.replicas.items() if r.state is ReplicaState.RUNNING)

    def operator(self, act) -> None:  # type: ignore[no-untyped-def]
        try:
            act()
        except (NotFoundError, RefusedError):
            pass

    def teardown(self) -> None:
        """In the end everything goes well, and the last file serves."""
        world = self.world
        if PROJECT not in world.core.books:
            return
        world.carry_out()
        self.resume()
        world.run(150)
        self.version += 1
        world.up(api(self.version, self.replicas, update=self.update, writes=self.writes))
        self.resume()
        world.run(400)
        assert len(world.pool()) == len(world.replicas)
        target = world.service().target
        assert target is not None
        assert {r.revision_id for r in world.replicas.values()} <= {target.revision_id}
        assert len(world.pool()) == target.replicas


AnyOrder.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
