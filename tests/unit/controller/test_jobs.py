"""Services that are meant to end: what they did stays done."""

from __future__ import annotations

from typing import Any

from fairlead.controller.controls import OperationState
from fairlead.rollout.commands import StartReplica
from fairlead.spec.model import Condition, Dependency, Deploy, Service

from .world import PROJECT, World, service

AFTER = {"migrate": Dependency(condition=Condition.COMPLETED)}


def shop(version: str, **fields: Any) -> tuple[Service, Service]:
    return service("migrate", version), service("api", version, 8080, depends_on=AFTER, **fields)


class Ends(World):
    """A world in which jobs end at once, with status 1 where ``fails`` says so."""

    fails: bool = False

    def _start(self, start: StartReplica) -> None:
        super()._start(start)
        if start.service == "migrate":
            self.end(start.replica_id, 1 if self.fails else 0)

    def runs(self) -> list[str]:
        return [start.revision_id for start in self.started if start.service == "migrate"]


def test_a_job_that_fails_takes_the_release_back_without_running_the_old_one_again() -> None:
    world = Ends()
    assert world.ended(world.up(*shop("v1"))).state is OperationState.SUCCEEDED
    world.fails = True
    assert world.ended(world.up(*shop("v2"))).state is OperationState.ROLLED_BACK
    assert len(world.runs()) == 2
    assert world.runs()[0] != world.runs()[1]


def test_a_later_service_that_fails_does_not_run_the_old_job_again_either() -> None:
    world = Ends()
    world.ended(world.up(*shop("v1")))
    world.crashes = lambda start: start.service == "api"
    assert world.ended(world.up(*shop("v2"))).state is OperationState.ROLLED_BACK
    assert len(world.runs()) == 2


def test_what_an_older_job_left_is_forgotten_when_the_release_serves() -> None:
    world = Ends()
    world.ended(world.up(*shop("v1")))
    world.ended(world.up(*shop("v2")))
    world.for_s(1)
    assert [i.revision_id for i in world.book.services["migrate"].instances] == world.runs()[1:]


def test_a_job_that_is_done_and_wanted_no_more_is_forgotten() -> None:
    world = Ends()
    world.ended(world.up(*shop("v1")))
    assert world.ended(world.core.scale(PROJECT, {"migrate": 0}, world.now_s)).state is OperationState.SUCCEEDED
    world.for_s(1)
    assert world.book.services["migrate"].instances == ()
    assert world.ended(world.up(*shop("v2"))).state is OperationState.SUCCEEDED
    assert len(world.runs()) == 1


def test_a_job_that_a_release_wants_no_more_is_not_done_twice_when_that_is_taken_back() -> None:
    world = Ends()
    world.ended(world.up(*shop("v1")))
    world.crashes = lambda start: start.service == "api"
    job, api = service("migrate", "v1", deploy=Deploy(replicas=0)), service("api", "v2", 8080, depends_on=AFTER)
    assert world.ended(world.up(job, api)).state is OperationState.ROLLED_BACK
    assert len(world.runs()) == 1


def test_a_job_that_is_not_in_the_file_any_more_goes() -> None:
    world = Ends()
    world.ended(world.up(*shop("v1")))
    assert world.ended(world.up(service("api", "v1", 8080))).state is OperationState.SUCCEEDED
    assert "migrate" not in world.book.services
