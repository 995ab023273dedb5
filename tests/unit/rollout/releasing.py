"""Releases begun in a world where everything goes well, for the tests that say what goes wrong then."""

from __future__ import annotations

from tests.simulation.byhand import PROJECT, ByHand

from fairlead.spec.model import Condition, Dependency, Deploy, Service


def worker(version: int = 1, replicas: int = 1) -> Service:
    return Service(
        name="worker",
        command=("work",),
        environment={"V": str(version)},
        deploy=Deploy(replicas=replicas),
        depends_on={"api": Dependency(condition=Condition.HEALTHY)},
    )


def serving(*services: Service) -> ByHand:
    world = ByHand()
    world.up(*services)
    world.run(30)
    assert world.core.books[PROJECT].project.serving == 1
    return world


def revision(world: ByHand, name: str = "api") -> str:
    target = world.service(name).target
    assert target is not None
    return target.revision_id


def bad_revision(world: ByHand, *services: Service) -> frozenset[str]:
    """The release has begun; the revision of `api` in it."""
    world.up(*services)
    return frozenset({revision(world)})


def state_of(world: ByHand, number: int) -> str:
    return world.core.book(PROJECT).releases[number].state
