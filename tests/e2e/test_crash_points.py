"""The controller dies before and after the effect of each journalled command of each operation, on every real engine.

Whatever the point, its successor brings the operation to the end that an undisturbed one has, with the same replicas
and nothing beside them, and not one request fails. On processes every point is tried, on containers every
ninth, and every one with `FAIRLEAD_CRASH_POINTS=all`; the simulation goes through the same points by the million.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice

import pytest

from fairlead.docker_api.scope import SCOPE, scope_of
from fairlead.engines.docker.labels import PROJECT as PROJECT_LABEL
from fairlead.engines.docker.labels import REPLICA
from fairlead.spec.model import (
    Deploy,
    Order,
    Port,
    Probe,
    ProbeKind,
    Probes,
    Project,
    Service,
    ServiceOptions,
    UpdateConfig,
)
from tests.docker_world import BUSYBOX
from tests.integration.docker.live import docker, docker_sandbox

from .load import Load, shown
from .mortal import PROJECT, Mortal, points
from .sandbox import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MOST_POINTS = 100
STEPS = {"process": 1, "docker": 1 if os.environ.get("FAIRLEAD_CRASH_POINTS") == "all" else 9}
RUNNING = {"api": 2, "single": 1}

SERVER = """
import os, socket
with socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=128) as server:
    while True:
        connection, _ = server.accept()
        with connection:
            connection.settimeout(5)
            try:
                if connection.recv(65536):
                    connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nserved")
            except OSError:
                pass
"""


@dataclass(frozen=True, slots=True)
class Pass:
    """An operation, how to ask for it, and what is true when it has come to its end."""

    what: str
    act: Callable[[], None]
    expect: Callable[[], bool]


class Shop:
    """`api` with two replicas, replaced start-first, and `single`, replaced stop-first, on one engine."""

    def __init__(self, sandbox: Sandbox, engine: str, stack: ExitStack) -> None:
        self.engine = engine
        self.ports = {name: sandbox.port() for name in RUNNING}
        listed = {"process": lambda: run_directories(sandbox), "docker": lambda: containers(sandbox)}[engine]
        self.mortal = Mortal(sandbox, engine, listed)
        stack.callback(self.mortal.close)
        self.mortal.up(self.project())
        self.mortal.settle(self.is_whole, "the shop is up")

    def project(self) -> Project:
        orders = {"api": Order.START_FIRST, "single": Order.STOP_FIRST}
        services = {name: self._service(name, count, orders[name]) for name, count in RUNNING.items()}
        return Project(name=PROJECT, working_dir="/", services=services)

    def _service(self, name: str, replicas: int, order: Order) -> Service:
        """A web server that is there at once, so that many operations fit into a minute."""
        on_docker = self.engine == "docker"
        script = "mkdir -p /www; echo -n served > /www/index.html; exec httpd -f -p 8000 -h /www"
        probe = Probe(kind=ProbeKind.HTTP, path="/", interval_s=0.05)
        return Service(
            name=name,
            image=BUSYBOX if on_docker else None,
            command=("sh", "-c", script) if on_docker else (sys.executable, "-I", "-S", "-c", SERVER),
            init=True if on_docker else None,
            environment={"V": "0"},
            ports=(Port(target=8000, published=self.ports[name], host_ip="127.0.0.1"),),
            deploy=Deploy(replicas=replicas, update=UpdateConfig(order=order, parallelism=1)),
            options=ServiceOptions(probes=Probes(readiness=probe)),
        )

    def is_whole(self) -> bool:
        return self.has(RUNNING)

    def has(self, numbers: dict[str, int]) -> bool:
        """Exactly so many replicas by service, all ready, of one revision each."""
        state = self.mortal.state()
        shape = {name: (total, ready, len(revisions)) for name, (total, ready, revisions) in state.items()}
        return shape == {name: (count, count, 1) for name, count in numbers.items()}

    def revisions(self) -> dict[str, frozenset[str]]:
        return {name: revisions for name, (_, _, revisions) in self.mortal.state().items()}

    def load(self, name: str) -> Load:
        return Load(
            f"http://127.0.0.1:{self.ports[name]}", "--rate=25", "--app=any", "--contains=served", "--timeout=60"
        )


def run_directories(sandbox: Sandbox) -> set[str]:
    folder = sandbox.home / "run" / PROJECT
    return {path.name for path in folder.glob("*") if not path.name.startswith(".")}


def containers(sandbox: Sandbox) -> set[str]:
    labels = {SCOPE: scope_of(sandbox.home), PROJECT_LABEL: PROJECT}
    filters = [f"--filter=label={label}={value}" for label, value in labels.items()]
    return set(docker("ps", "-a", *filters, "--format", f'{{{{.Label "{REPLICA}"}}}}').split())


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with ExitStack() as stack:
        box = stack.enter_context(docker_sandbox() if request.param == "docker" else Sandbox())
        yield Shop(box, request.param, stack)


def through_all_points(shop: Shop, passes: Callable[[int], Sequence[Pass]]) -> None:
    """Every pass once for each point, until the points lie beyond the commands of each of them.

    ``passes`` gives them in the order in which one leaves things as the next expects them. Where every point is tried,
    two in a row must lie beyond: how many commands an operation has may differ by one from time to time.
    """
    step = STEPS[shop.engine]
    died: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for number, point in enumerate(islice(points(step), MOST_POINTS), start=1):
        wanted = passes(number)
        for each in wanted:
            if shop.mortal.dies(point, each.act, each.expect, each.what):
                died[each.what] += 1
                missed[each.what] = 0
            else:
                missed[each.what] += 1
        if all(missed[each.what] >= (2 if step == 1 else 1) for each in wanted):
            break
    print(f"{shop.engine}: controllers died at {dict(died)} points")
    assert min(died[each.what] for each in wanted) >= (2 if step == 1 else 1), (
        "the hook is not there, or the operation has no commands"
    )


@pytest.mark.parametrize("name", ["api", "single"])
def test_a_release_ends_as_if_nobody_had_died(shop: Shop, name: str) -> None:
    """`api` is exchanged start-first, `single` stop-first."""
    untouched = shop.revisions()
    last = [untouched[name]]

    def passes(number: int) -> list[Pass]:
        def release() -> None:
            last.append(shop.revisions()[name])
            shop.mortal.asked(lambda: shop.mortal.client.deploy(PROJECT, name, None, {"V": str(number)}))

        return [Pass("release", release, lambda: shop.is_whole() and shop.revisions()[name] not in last)]

    with shop.load(name) as load:
        through_all_points(shop, passes)
        load.wait_until_flowing(10)
    print(f"{load.report['failed']} of {load.report['sent']} requests failed")
    assert load.report["failed"] == 0, shown(load.report)
    other = "single" if name == "api" else "api"
    assert shop.revisions()[other] == untouched[other], "the other service was touched"


def test_a_scale_ends_as_if_nobody_had_died(shop: Shop) -> None:
    before = shop.revisions()

    def passes(_: int) -> list[Pass]:
        def to(count: int) -> Pass:
            return Pass(
                f"scale api={count}",
                lambda: shop.mortal.asked(lambda: shop.mortal.client.scale(PROJECT, {"api": count})),
                lambda: shop.has({**RUNNING, "api": count}),
            )

        return [to(3), to(2)]

    with shop.load("api") as load:
        through_all_points(shop, passes)
        load.wait_until_flowing(10)
    print(f"{load.report['failed']} of {load.report['sent']} requests failed")
    assert load.report["failed"] == 0, shown(load.report)
    assert shop.revisions() == before


def test_a_rollback_ends_as_if_nobody_had_died(shop: Shop) -> None:
    """There and back again: a rollback of a rollback is one, too."""
    first = shop.revisions()["api"]
    shop.mortal.asked(lambda: shop.mortal.client.deploy(PROJECT, "api", None, {"V": "1"}))
    shop.mortal.settle(lambda: shop.is_whole() and shop.revisions()["api"] != first, "the second release")
    both = (first, shop.revisions()["api"])

    def passes(number: int) -> list[Pass]:
        def back() -> None:
            shop.mortal.asked(lambda: shop.mortal.client.rollback(PROJECT))

        wanted = both[(number - 1) % 2]
        return [Pass("rollback", back, lambda: shop.is_whole() and shop.revisions()["api"] == wanted)]

    with shop.load("api") as load:
        through_all_points(shop, passes)
        load.wait_until_flowing(10)
    print(f"{load.report['failed']} of {load.report['sent']} requests failed")
    assert load.report["failed"] == 0, shown(load.report)


def test_up_and_down_end_as_if_nobody_had_died(shop: Shop) -> None:
    whole = shop.mortal.state()

    def passes(_: int) -> list[Pass]:
        return [
            Pass("down", shop.mortal.down, lambda: shop.mortal.state() == {}),
            Pass("up", lambda: shop.mortal.up(shop.project()), lambda: shop.mortal.state() == whole),
        ]

    through_all_points(shop, passes)
