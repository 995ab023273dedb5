"""What operators do in a run: files that follow each other, and commands at awkward moments.

A file is known by its number in :attr:`Scenario.files`, so that a request survives a controller as one number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from fairlead.controller.controls import OperationKind, OperationState, UpRequest
from fairlead.controller.core import Core
from fairlead.errors import NotFoundError, RefusedError, StoreError, StoreFullError
from fairlead.spec.model import (
    Condition,
    Dependency,
    Deploy,
    FailureAction,
    Healthcheck,
    Mount,
    Order,
    Port,
    Probe,
    ProbeKind,
    Probes,
    Project,
    RestartCondition,
    RestartPolicy,
    RolloutOptions,
    Service,
    ServiceOptions,
    Strategy,
    UpdateConfig,
)
from tests.simulation.behaviour import BAD
from tests.simulation.router import NEIGHBOUR, PROJECT, TAKEN_PORT
from tests.simulation.world import Crash

if TYPE_CHECKING:
    from tests.simulation.sim import Sim

Act = Callable[[Core, float], object]


class Scenario:
    """The operator of one run. ``files``: every file so far; ``good``: one with nothing wrong in it."""

    def __init__(self, sim: Sim) -> None:
        self._sim = sim
        self._rng = Random(f"{sim.world.seed}:scenario")
        self._more = Random(f"{sim.world.seed}:more")
        self._shape = self._rng.choice(("api", "api", "api+worker", "db", "api+db", "api+job", "api+web+worker"))
        self._updates = {name: self._update() for name in ("api", "web", "worker")}
        self._rollbacks = {name: self._update() for name in ("api", "web", "worker")}
        self._options = self._rollout_options()
        self._condition = self._rng.choice((RestartCondition.ANY, RestartCondition.ON_FAILURE, None))
        if self._more.random() < 0.1:
            self._shape = self._more.choice(("db+job", "api+db+job"))
        if "fails-going-back" in sim.faults.rates and self._more.random() < 0.7:
            # All at once there and one by one back: that is the most that a way back can be wrong about.
            if self._more.random() < 0.6:
                self._updates = {name: UpdateConfig(parallelism=0) for name in self._updates}
            self._rollbacks = {name: UpdateConfig(parallelism=1) for name in self._rollbacks}
        self._is_odd = self._more.random() < 0.15
        self._asks: dict[int, dict[str, Any]] = {}
        self._version = 0
        self._scales = {name: self._rng.choice((1, 2, 3, 4)) for name in ("api", "web", "worker")}
        self.files: list[Project] = []
        self.broken = ("", "")
        self.pending = 0
        self.acts_left = self._rng.choice((1, 2, 4, 6))
        self.gives_up_volumes = False

    # Files

    def good_file(self) -> int:
        """A new file that is healthy; its number."""
        return self._file(None, None)

    def bad_file(self) -> int:
        """A new file with one broken service; its number."""
        names = [name for name in self._names() if name != "job"]
        self.broken = (self._rng.choice(names), self._rng.choice((*BAD, "port-taken")))
        idle = [name for name in names if self._scales.get(name) == 0]
        if idle and self._more.random() < 0.4:
            # Nothing has to leave there before it is found out.
            self.broken = (self._more.choice(idle), "port-taken")
        return self._file(*self.broken)

    def mostly_bad_file(self) -> int:
        """The last file with one service broken, and with another number of another one."""
        services = dict(self.files[-1].services)
        names = sorted(name for name in services if name in self._scales)
        if len(names) < 2:
            return self.bad_file()
        broken, other = self._more.sample(names, 2)
        self.broken = (broken, self._more.choice(("no-start", "crash", "never-ready")))
        mended = services[broken]
        services[broken] = replace(mended, environment={**mended.environment, "BAD": self.broken[1]})
        count = self._more.choice([n for n in (1, 2, 3, 4) if n != services[other].replicas])
        services[other] = replace(services[other], deploy=replace(services[other].deploy, replicas=count))
        self.files.append(replace(self.files[-1], services=services))
        return len(self.files) - 1

    def _names(self) -> list[str]:
        return ["job" if part == "job" else part for part in self._shape.split("+")]

    def _file(self, broken: str | None, how: str | None) -> int:
        self._version += 1
        names = self._names()
        if self._rng.random() < 0.1 and len(names) > 1 and broken is None:
            names = names[:-1]
        services = {name: self._service(name, how if name == broken else None, names) for name in names}
        self.files.append(Project(name=PROJECT, working_dir="/srv", services=services))
        return len(self.files) - 1

    def _service(self, name: str, bad: str | None, names: list[str]) -> Service:
        rng = self._rng
        environment = {"V": str(self._version if rng.random() < 0.8 else 0)}
        if bad and bad != "port-taken":
            environment["BAD"] = bad
        if name == "job":
            takes = "long" if "db" in self._shape else "1"
            return Service(name=name, command=("migrate",), environment={**environment, "JOB": takes})
        if name in self._scales and rng.random() < 0.25:
            self._scales[name] = rng.choice((0, 0, 1, 2, 3, 4, 5))
        depends_on = {}
        if name == "worker" and "api" in names:
            depends_on["api"] = Dependency(condition=rng.choice((Condition.HEALTHY, Condition.STARTED)))
        if name == "api" and "db" in names:
            depends_on["db"] = Dependency(condition=Condition.HEALTHY)
        if name in ("api", "db") and "job" in names:
            depends_on["job"] = Dependency(condition=Condition.COMPLETED)
        replicas = 1 if name == "db" else self._scales[name]
        ports = {"api": (Port(target=8000, published=8080),), "web": (Port(target=80, published=80),)}.get(name, ())
        if name == "db":
            ports = (Port(target=5432, published=5432),)
        if name == "web":
            ports = (*ports, Port(target=443, published=443))
        if bad == "port-taken":
            ports = (Port(target=8000, published=TAKEN_PORT),)
            # Nobody would serve there, and it is refused all the same.
            replicas = 0 if self._more.random() < 0.5 else replicas
        mounts = (Mount(type="volume", source="data", target="/data"),) if name == "db" else ()
        deploy = Deploy(
            replicas=replicas,
            update=self._updates.get(name),
            rollback=self._rollbacks.get(name),
            restart_policy=RestartPolicy(condition=self._condition) if self._condition else None,
        )
        options = ServiceOptions(rollout=self._options)
        service = Service(
            name=name, command=("serve",), environment=environment, ports=ports, volumes=mounts, deploy=deploy,
            depends_on=depends_on, options=options,
        )  # fmt: skip
        return self._odd(service) if self._is_odd else service

    def _odd(self, service: Service) -> Service:
        """``service`` as files have it that use more of what there is."""
        rng = self._more
        more = {
            "web": (Port(target=8443, published=8443, app_protocol="https"), Port(target=53, protocol="udp")),
            "worker": (Port(target=9000, inside={"back": ("worker",)}),),
        }.get(service.name, ())
        test = Healthcheck(test=("CMD", "true"), interval_s=2.0, timeout_s=3.0, retries=4)
        check = rng.choice((Healthcheck(), test, Healthcheck(disable=True)))
        startup = Probe(kind=ProbeKind.HTTP, interval_s=2.0, failure_threshold=20) if rng.random() < 0.3 else None
        probes = Probes(startup=startup, start_timeout_s=rng.choice((None, None, 40.0)))
        return replace(
            service,
            ports=(*service.ports, *more),
            restart=rng.choice((None, "always", "unless-stopped", "on-failure:9")),
            healthcheck=check,
            options=replace(service.options, probes=probes),
        )

    def _update(self) -> UpdateConfig | None:
        rng = self._rng
        if rng.random() < 0.4:
            return None
        return UpdateConfig(
            parallelism=rng.choice((None, 0, 1, 2, 3)),
            delay_s=rng.choice((None, 0.5, 3.0)),
            monitor_s=rng.choice((None, None, 1.0, 5.0)),
            max_failure_ratio=rng.choice((None, None, None, 0.3)),
            failure_action=rng.choice(
                (None, None, FailureAction.PAUSE, FailureAction.ROLLBACK, FailureAction.CONTINUE)
            ),
            order=rng.choice((None, Order.START_FIRST, Order.STOP_FIRST)),
        )

    def _rollout_options(self) -> RolloutOptions:
        rng = self._rng
        return RolloutOptions(
            strategy=rng.choice((Strategy.ROLLING, Strategy.ROLLING, Strategy.ROLLING, Strategy.RECREATE)),
            drain_timeout_s=rng.choice((None, 3.0, 10.0)),
            stream_timeout_s=rng.choice((None, 5.0, 20.0)),
            progress_deadline_s=rng.choice((None, 120.0)),
        )

    # Commands

    def begin(self, core: Core, project: str, operation_id: str, file: int, now_s: float) -> None:
        """The second half of `up`: everything is prepared."""
        try:
            core.up(UpRequest(project=self.files[file], **self._asks.get(file, {})), operation_id, "memory", now_s)
        except (NotFoundError, RefusedError) as error:
            core.close_operation(project, operation_id, OperationState.FAILED, error.message, now_s)

    def start(self) -> None:
        """The first deployment, and then one act after another."""
        if NEIGHBOUR in self._sim.projects:
            self.files.append(_neighbour())
            self.order(self._up(0))
            self._sim.safety.watch_neighbour()
        self.order(self._up(self.good_file() if self._rng.random() < 0.9 else self.bad_file()))
        self._next_act()

    def order(self, act: tuple[str, Act]) -> None:
        """Have ``act`` done by whichever controller answers."""
        self.pending += 1
        self._try(act)

    def up_good(self) -> None:
        """A healthy file, for the phase after the world has healed."""
        self.order(self._up(self.good_file()))

    def up_again(self) -> None:
        """The last file once more."""
        self.order(self._up(len(self.files) - 1))

    def up_bad(self) -> None:
        self.order(self._up(self.mostly_bad_file() if self._more.random() < 0.4 else self.bad_file()))

    def resume(self) -> None:
        self.order(("resume", lambda core, now_s: core.resume(PROJECT, now_s)))

    def pause_a_while(self) -> None:
        """Somebody wants to have a look in the middle of a release."""
        self.order(("pause", lambda core, now_s: core.pause(PROJECT, now_s)))
        self.pending += 1
        self._sim.world.at(self._sim.world.between(0.5, 20.0), self._go_on)

    def _go_on(self) -> None:
        self.pending -= 1
        self.resume()

    def abort(self) -> None:
        """Somebody changes their mind just as a replica has been stopped."""
        self.order(("rollback", lambda core, now_s: core.rollback(PROJECT, None, now_s)))

    def down(self) -> None:
        self.order(self._down())

    def _down(self) -> tuple[str, Act]:
        """With volumes or without: the last word counts that was not refused, answered or not."""
        volumes = self._more.random() < 0.4

        def act(core: Core, now_s: float) -> None:
            before, self.gives_up_volumes = self.gives_up_volumes, volumes
            try:
                core.down(PROJECT, volumes, now_s)
            except (NotFoundError, RefusedError):
                self.gives_up_volumes = before
                raise

        return f"down{' --volumes' if volumes else ''}", act

    def _next_act(self) -> None:
        if self.acts_left <= 0:
            return
        self.acts_left -= 1
        pause_s = self._rng.choice((0.05, 0.5, 2.0, 5.0, 20.0, 45.0)) * (0.5 + self._rng.random())
        self.pending += 1
        self._sim.world.at(pause_s, self._act)

    def _act(self) -> None:
        self.pending -= 1
        self._sim.clients.burst(8, 15.0)
        act = self._choose()
        if self._sim.faults.goes("act"):
            self.order(act)
        self._next_act()

    def _choose(self) -> tuple[str, Act]:
        rng = self._rng
        kinds = ("up",) * 5 + ("bad",) * 3 + ("deploy", "rollback", "rollback", "restart", "scale", "scale")
        kind = rng.choice((*kinds, "pause", "resume", "down", "again"))
        match kind:
            case "up":
                return self._up(self._asked(self.good_file()))
            case "bad":
                return self._up(self.bad_file())
            case "again":
                return self._up(max(len(self.files) - 1, 0))
            case "deploy":
                name, value = rng.choice(self._names()), str(rng.randrange(1000))
                return "deploy", lambda core, now_s: core.deploy(PROJECT, name, None, {"V": value}, now_s)
            case "rollback":
                number = rng.choice((None, None, 1, 2))
                return "rollback", lambda core, now_s: core.rollback(PROJECT, number, now_s)
            case "restart":
                some = (self._more.choice(self._names()),) if self._more.random() < 0.3 else ()
                return f"restart {' '.join(some)}", lambda core, now_s: core.restart(PROJECT, some, now_s)
            case "scale":
                name, count = rng.choice(self._names()), rng.choice((0, 0, 1, 2, 3, 5))
                if name in ("db", "job"):
                    count = min(count, 1)
                return f"scale {name}={count}", lambda core, now_s: core.scale(PROJECT, {name: count}, now_s)
            case "pause":
                return "pause", lambda core, now_s: core.pause(PROJECT, now_s)
            case "resume":
                return "resume", lambda core, now_s: core.resume(PROJECT, now_s)
        return self._down()

    def _asked(self, file: int) -> int:
        """``file``, asked for with options at times."""
        names = sorted(name for name in self.files[file].services if name in self._scales)
        if self._more.random() < 0.1:
            self._asks[file] = {"force_recreate": True}
        elif names and self._more.random() < 0.1:
            self._asks[file] = {"scale": {self._more.choice(names): self._more.choice((0, 1, 3))}}
        return file

    def _up(self, file: int) -> tuple[str, Act]:
        name = self.files[file].name

        def act(core: Core, now_s: float) -> None:
            book = core.books.get(name)
            if book is not None and not book.gone and book.project.leaving:
                raise RefusedError("going down")
            operation = core.open_operation(name, OperationKind.UP, now_s, request={"file": file})
            self._sim.leader().prepare(name, operation.id, file)

        return f"up file {file}", act

    def _try(self, act: tuple[str, Act]) -> None:
        sim = self._sim
        controller = sim.leader_or_none()
        if controller is None:
            sim.world.at(1.0, lambda: self._try(act))
            return
        name, call = act
        sim.world.say("operator", name)
        try:
            call(controller.core, sim.wall_s())
        except (Crash, StoreError) as error:
            # A person who gets no answer asks again, not knowing whether the first time did anything.
            if isinstance(error, Crash):
                controller.crash()
            elif not isinstance(error, StoreFullError):
                controller.die("another controller has the lease")
            sim.world.at(1.0, lambda: self._try(act))
            return
        except (NotFoundError, RefusedError) as error:
            sim.world.say("operator", f"is refused: {error.message}")
        self.pending -= 1
        sim.safety.after_step(controller, None)
        controller.wake()


def _neighbour() -> Project:
    """The file of the second project: it has the port, the volume and the name that others would like to have."""
    service = Service(
        name="api",
        command=("serve",),
        ports=(Port(target=8000, published=TAKEN_PORT),),
        volumes=(Mount(type="volume", source="data", target="/data", read_only=True),),
        deploy=Deploy(replicas=2),
    )
    return Project(name=NEIGHBOUR, working_dir="/srv", services={service.name: service})
