"""A service that no selected profile names is none of this release's business."""

from __future__ import annotations

from .world import World, service

API, DEBUG = service("api"), service("debug", profiles=("debug",))


def test_what_runs_under_another_profile_stays() -> None:
    world = World()
    world.ended(world.up(API, DEBUG))
    world.ended(world.up(service("api", "v2"), unselected=("debug",)))
    assert sorted(replica.service for replica in world.replicas.values()) == ["api", "debug"]
    assert world.started[-1].service == "api"


def test_what_does_not_run_is_not_started_for_being_named() -> None:
    world = World()
    world.ended(world.up(API, unselected=("debug",)))
    assert [replica.service for replica in world.replicas.values()] == ["api"]


def test_what_left_the_file_goes() -> None:
    world = World()
    world.ended(world.up(API, DEBUG))
    world.ended(world.up(API))
    assert [replica.service for replica in world.replicas.values()] == ["api"]
