"""What `status` says of a service that does not serve as it should."""

from __future__ import annotations

from dataclasses import replace

from fairlead.controller.controls import ServiceRow
from fairlead.controller.rows import project_status, replica_rows
from fairlead.observed import Health, ReplicaHealth
from fairlead.spec.model import Deploy, FailureAction, UpdateConfig

from .world import CHOSEN_PORT, World, service


def row_of(world: World, name: str) -> ServiceRow:
    rows = project_status(world.book, world.observation(), world.now_s).services
    return next(row for row in rows if row.name == name)


def test_a_port_of_the_routers_choice_is_named() -> None:
    world = World()
    world.ended(world.up(service("api", port=0)))
    assert row_of(world, "api").published == (f"http://0.0.0.0:{CHOSEN_PORT} -> 8000",)


def test_a_replica_that_lost_its_readiness_is_told_and_shown_with_its_reason() -> None:
    world = World()
    world.ended(world.up(service("api", port=8080)))
    world.health["shop.api.1"] = ReplicaHealth(health=Health.UNREADY, reason="GET /health: status 503")
    world.step()
    why = "shop.api.1 (api@{}) is not ready any more, out of the pool: GET /health: status 503"
    assert why.format(world.replicas["shop.api.1"].revision_id.partition("@")[2]) in world.said()
    row = row_of(world, "api")
    assert (row.ready, row.message) == (0, "shop.api.1 is not ready: GET /health: status 503")


def test_a_replica_that_is_well_and_leaves_shows_no_probe_as_the_reason() -> None:
    world = World()
    world.ended(world.up(service("api", "v1", 8080)))
    world.up(service("api", "v2", 8080, deploy=Deploy(update=UpdateConfig(monitor_s=20))))
    world.for_s(5)
    (old,) = (row for row in replica_rows(world.book, world.observation(), world.now_s) if row.id == "shop.api.1")
    assert (old.state, old.health, old.reason) == ("draining", "ready", "")
    world.health["shop.api.1"] = ReplicaHealth(health=Health.UNREADY, reason="GET /health: status 503")
    (old,) = (row for row in replica_rows(world.book, world.observation(), world.now_s) if row.id == "shop.api.1")
    assert old.reason == "GET /health: status 503"


def test_a_crash_loop_shows_how_often_why_and_when_it_goes_on() -> None:
    world = World()
    world.ended(world.up(service("api")))
    world.crashes = lambda start: True
    world.end("shop.api.1", 3)
    world.for_s(4)
    row = row_of(world, "api")
    assert (row.ready, row.phase) == (0, "steady")
    assert row.message.startswith("failed 4 times, next try in ")
    assert row.message.endswith(": exited with status 1")


def test_a_slot_that_was_given_up_shows_its_last_failure() -> None:
    world = World()
    world.ended(world.up(service("api", restart="on-failure:1")))
    world.crashes = lambda start: True
    world.end("shop.api.1", 3)
    world.for_s(10)
    assert row_of(world, "api").message == "gave up restarting 1 replica: exited with status 1"


def test_one_failure_after_which_a_slot_is_given_up_is_one() -> None:
    world = World()
    world.ended(world.up(service("api", restart="no")))
    world.end("shop.api.1", 3)
    world.for_s(2)
    assert "api: gave up on slot 1 after 1 failure, as its restart policy says: exited with status 3" in world.said()


def test_a_failed_rollback_is_no_steady_service() -> None:
    world = World()
    one = service("api", "v1", 8080, deploy=Deploy(replicas=2, update=UpdateConfig(parallelism=1, delay_s=5)))
    world.ended(world.up(one))
    world.up(replace(one, environment={"VERSION": "v2"}))
    world.for_s(1)
    world.crashes = lambda start: True
    world.for_s(15)
    row = row_of(world, "api")
    assert (row.phase, row.message) == (
        "failed",
        "the rollback failed too: 1 of 2 new replicas failed: exited with status 1",
    )


def test_what_the_new_revision_suffers_is_not_told_of_the_old_replicas() -> None:
    world = World()
    update = UpdateConfig(failure_action=FailureAction.PAUSE)
    one = service("api", "v1", 8080, deploy=Deploy(replicas=1, update=update))
    world.ended(world.up(one))
    world.up(replace(one, environment={"VERSION": "v2"}))
    world.crashes = lambda start: True
    world.for_s(10)
    rows = {row.id: row for row in replica_rows(world.book, world.observation(), world.now_s)}
    assert (rows["shop.api.1"].state, rows["shop.api.1"].restarts) == ("ready", 0)
    assert all(row.restarts > 0 for row in rows.values() if row.id != "shop.api.1")
    status = row_of(world, "api")
    assert (status.phase, status.ready, status.old_ready) == ("paused", 0, 1)
