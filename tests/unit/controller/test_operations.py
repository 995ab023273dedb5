"""Every operation from the controls to the engine and the router, and back as rows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fairlead.capabilities import KeySupport, Support
from fairlead.controller.controls import OperationState
from fairlead.controller.runtime import Controller
from fairlead.engines.memory import Behaviour
from fairlead.errors import NotFoundError, RefusedError, UsageError
from fairlead.observed import CommandResult
from fairlead.routers.base import TrafficSample

from .house import CRASH, House, ended, eventually, refused, replicas, request, service, succeeded

NO_SUCH_SERVICE = ("shop has no service 'apj'", "did you mean 'api'? its services: api")


async def states(controller: Controller) -> dict[str, str]:
    return {row.id: row.state for row in await controller.replicas("shop")}


async def test_up_brings_a_project_to_serve(house: House) -> None:
    async with house.running() as controller:
        operation = await controller.up(request(service(**replicas(2)), service("work", port=None)))
        done = await succeeded(controller, operation)
        assert (done.release, done.message) == (1, "release 1 serves")
        assert await states(controller) == {"shop.api.1": "ready", "shop.api.2": "ready", "shop.work.1": "ready"}
        status = await controller.project("shop")
        assert (status.state, status.release, status.engine) == ("running", 1, "process")
        assert [(s.name, s.ready, s.replicas) for s in status.services] == [("api", 2, 2), ("work", 1, 1)]
        assert [p.name for p in await controller.projects()] == ["shop"]
        assert (await controller.status()).projects == ("shop",)
        routes = await house.router.observe("shop")
        assert {e.replica_id for e in routes["shop/api/8080"].endpoints} == {"shop.api.1", "shop.api.2"}


async def test_up_again_with_the_same_changes_nothing(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        done = await succeeded(controller, await controller.up(request(service())))
        assert (done.changed, done.release) == (False, 1)
        assert [row.number for row in await controller.history("shop")] == [1]


async def test_plan_says_what_up_would_do_and_does_nothing(house: House) -> None:
    async with house.running() as controller:
        plan = await controller.plan(request(service(), scale={"api": 3}))
        (step,) = plan["operations"]
        assert (step["action"], step["replicas_after"]) == ("create", 3)
        assert await controller.projects() == ()


async def test_deploy_and_the_way_back(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(**replicas(2)))))
        await succeeded(controller, await controller.deploy("shop", "api", "img:2", {"A": "1"}))
        (first, second) = [row for row in await controller.replicas("shop") if row.state == "ready"]
        assert {first.release, second.release} == {2}
        done = await succeeded(controller, await controller.rollback("shop", None))
        assert done.release == 3
        newest, middle, oldest = await controller.history("shop")
        assert (newest.kind, newest.current, newest.revisions) == ("rollback", True, oldest.revisions)
        assert middle.revisions != oldest.revisions


async def test_the_way_back_from_another_port_leads_to_the_release_before(house: House) -> None:
    async with house.running() as controller:
        for asked in (service(version="v1"), service(version="v2"), service(version="v2", port=8081)):
            house.engine.behaviours["api"] = Behaviour()
            await succeeded(controller, await controller.up(request(asked)))
        await succeeded(controller, await controller.rollback("shop", None))
        newest, third, second, _ = await controller.history("shop")
        assert (newest.message, newest.revisions) == ("to release 2", second.revisions)
        assert third.revisions == second.revisions

        async def is_closed() -> bool:
            return list(await house.router.observe("shop")) == ["shop/api/8080"]

        await eventually(is_closed, "the port of before is open again, and the other one is closed")


async def test_a_port_does_not_change_hands_while_its_owner_goes(house: House) -> None:
    """The old owner serves on it until the new one is ready, so that both would want it at a time."""
    old, new = service("api"), service("web")
    gone = "port 8080 cannot pass from api to web in the release that removes api"
    changed = "port 8080 cannot pass from api to web in the release that exchanges the replicas of api"
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(old)))
        await refused(controller.plan(request(new)), RefusedError, gone, house)
        await refused(controller.plan(request(service("api", "v2", port=None), new)), RefusedError, changed, house)
        failed = await ended(controller, await controller.up(request(new)))
        assert (failed.state, failed.release) == (OperationState.FAILED, None)
        assert gone in failed.message
        assert [row.number for row in await controller.history("shop")] == [1]
        for asked in (request(service("api", port=8081), new), request(new)):
            await succeeded(controller, await controller.up(asked))

        async def is_alone() -> bool:
            return list(await house.router.observe("shop")) == ["shop/web/8080"]

        await eventually(is_alone, "the port is the new owner's, and the other one is closed")
        await refused(controller.rollback("shop", 1), RefusedError, "8080 cannot pass from web to api", house)


async def test_a_release_is_watched_and_taken_back_when_it_crashes(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(**replicas(2)))))
        (first,) = await controller.history("shop")
        assert first.watch_left_s == 0.0
        await succeeded(controller, await controller.deploy("shop", "api", None, {"A": "1"}))
        (second, first) = await controller.history("shop")
        assert 0 < second.watch_left_s <= 30.0
        assert first.watch_left_s == 0.0
        house.engine.behaviours["api"] = Behaviour()
        for row in await controller.replicas("shop"):
            if row.state == "ready":
                house.engine.kill(row.id, CRASH)

        async def taken_back() -> bool:
            return (await controller.history("shop"))[0].state == "rolled-back"

        await eventually(taken_back, "release 2 is taken back")
        (second, first) = await controller.history("shop")
        assert "replicas failed soon after the release: exited with status 3" in second.message
        assert (second.watch_left_s, second.current, first.current) == (0.0, False, True)
        assert (await controller.project("shop")).release == 1


async def test_scale_and_restart(house: House) -> None:
    async with house.running() as controller:

        async def is_alone() -> bool:
            return len(await states(controller)) == 1

        await succeeded(controller, await controller.up(request(service())))
        await succeeded(controller, await controller.scale("shop", {"api": 3}))
        before = await states(controller)
        assert list(before.values()) == ["ready"] * 3
        await succeeded(controller, await controller.scale("shop", {"api": 1}))
        assert list((await states(controller)).values()).count("ready") == 1
        await succeeded(controller, await controller.restart("shop", ("api",)))
        (after,) = [name for name, state in (await states(controller)).items() if state == "ready"]
        assert after not in before
        await eventually(is_alone, "what was stopped is gone")


async def test_down_takes_everything_away_and_up_brings_it_back(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(**replicas(2)))))
        await succeeded(controller, await controller.down("shop", volumes=True))
        await eventually(lambda: house.engine.cleaned_up == [("shop", True)], "what is left is put away")
        assert await house.engine.observe("shop") == ()
        assert await controller.projects() == ()
        with pytest.raises(NotFoundError):
            await controller.down("shop", volumes=False)
        done = await succeeded(controller, await controller.up(request(service())))
        assert done.release == 1
        assert await states(controller) == {"shop.api.1": "ready"}


async def test_pause_holds_a_release_and_resume_lets_it_go_on(house: House) -> None:
    not_ready = Behaviour(commands={("ready", "v2"): CommandResult(status=1, output="")})
    house.engine.behaviours["api"] = not_ready
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(version="v1"))))
        operation = await controller.up(request(service(version="v2")))

        async def is_starting() -> bool:
            return "starting" in (await states(controller)).values()

        await eventually(is_starting, "the new replica starts")
        assert (await controller.pause("shop")).paused

        async def is_paused() -> bool:
            return (await controller.operation("shop", operation.id)).state is OperationState.PAUSED

        await eventually(is_paused, "the operation says that it is paused")
        house.engine.behaviours["api"] = Behaviour()
        assert (await controller.project("shop")).state == "paused"
        assert not (await controller.resume("shop")).paused
        await succeeded(controller, operation)


async def test_what_replicas_use_comes_with_their_traffic(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service(), service("work", port=None))))
        sample = TrafficSample(route="shop/api/8080", replica_id="shop.api.1", requests=7, status={"2xx": 6, "5xx": 1})
        house.router.count("shop/api/8080", "shop.api.1", sample)
        house.router.load("shop.api.1", in_flight=2)
        api, work = await controller.stats("shop")
        assert (api.replica, api.requests, api.in_flight, api.status) == ("shop.api.1", 7, 2, {"2xx": 6, "5xx": 1})
        assert (work.replica, work.requests, work.status) == ("shop.work.1", None, None)
        assert [(p.replica, p.command) for p in await controller.processes("shop")] == [
            ("shop.api.1", "serve"),
            ("shop.work.1", "serve"),
        ]
        house.router.load("shop.api.1")
        await succeeded(controller, await controller.down("shop", volumes=False))
        for call in (controller.stats, controller.processes):
            with pytest.raises(NotFoundError):
                await call("shop")


async def test_a_command_runs_where_a_replica_runs(house: House) -> None:
    house.engine.behaviours["api"] = Behaviour(commands={("env",): CommandResult(status=3, output="A=1\n")})
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        assert (await controller.run("shop", "shop.api.1", ["env"], 5.0)).status == 3
        await refused(controller.run("shop", "shop.api.9", ["env"], 5.0), NotFoundError, "no replica", house)


async def test_what_is_refused_changes_nothing(house: House) -> None:
    async with house.running() as controller:
        nothing_there = (
            controller.deploy("shop", "api", None, {"A": "1"}),
            controller.rollback("shop", None),
            controller.restart("shop", ()),
            controller.scale("shop", {"api": 2}),
            controller.pause("shop"),
            controller.resume("shop"),
            controller.down("shop", volumes=False),
            controller.project("shop"),
            controller.history("shop"),
            controller.replicas("shop"),
            controller.operation("shop", "1-a"),
        )
        for call in nothing_there:
            await refused(call, NotFoundError, "no project 'shop'", house)
        await refused(controller.up(request(service(), scale={"web": 1})), NotFoundError, "no service 'web'", house)
        await refused(controller.up(request(service(), scale={"api": -1})), UsageError, "0 or more", house)
        await refused(controller.up(request(service(), scale={"api": 1001})), RefusedError, "at most 1000", house)
        await refused(controller.up(request(service(), engine="podman")), RefusedError, "no engine", house)
        await succeeded(controller, await controller.up(request(service())))
        wrong = (
            (controller.deploy("shop", "web", None, {"A": "1"}), NotFoundError, "no service 'web'"),
            (controller.rollback("shop", None), RefusedError, "no earlier release"),
            (controller.rollback("shop", 9), NotFoundError, "no release 9"),
            (controller.restart("shop", ("web",)), NotFoundError, "no service 'web'"),
            (controller.scale("shop", {"web": 2}), NotFoundError, "no service 'web'"),
            (controller.scale("shop", {"api": -1}), UsageError, "0 or more"),
            (controller.scale("shop", {"api": 1001}), RefusedError, "at most 1000"),
            (controller.operation("shop", "9-z"), NotFoundError, "no operation"),
            (controller.up(request(service(), engine="docker")), RefusedError, "runs on the engine process"),
        )
        for call, kind, says in wrong:
            await refused(call, kind, says, house)
        with pytest.raises(NotFoundError, match="no service 'web'"):
            controller.logs("shop", ["web"])


async def test_every_operation_says_the_same_of_a_service_that_is_not_there(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        calls = (
            controller.up(request(service(), scale={"apj": 1})),
            controller.deploy("shop", "apj", None, {"A": "1"}),
            controller.restart("shop", ("apj",)),
            controller.scale("shop", {"apj": 2}),
        )
        for call in calls:
            with pytest.raises(NotFoundError) as caught:
                await call
            assert (caught.value.message, caught.value.hint) == NO_SUCH_SERVICE
        with pytest.raises(NotFoundError) as caught:
            controller.logs("shop", ["apj"])
        assert (caught.value.message, caught.value.hint) == NO_SUCH_SERVICE


async def test_what_is_refused_when_all_is_prepared_says_so(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        done = await ended(controller, await controller.up(request(service("web"))))
        assert (done.state, done.release) == (OperationState.FAILED, None)
        assert done.error is not None
        assert done.error["error"] == "RefusedError"
        assert done.error["message"] == "port 8080 cannot pass from api to web in the release that removes api"
        assert done.error["hint"].startswith("publish another port for api")
        assert [row.number for row in await controller.history("shop")] == [1]


async def test_a_port_of_another_project_is_refused_before_anything_starts(house: House) -> None:
    says = "port 8080 of web is published by api of the project shop"
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        for call in (controller.up, controller.plan):
            await refused(call(request(service("web"), name="blog")), RefusedError, says, house)
        elsewhere = request(service("web", port=8081), name="blog")
        await succeeded(controller, await controller.up(elsewhere))
        # What runs already is not called into question by what another project has come to want since.
        await succeeded(controller, await controller.up(replace(elsewhere, force_recreate=True)))
        await succeeded(controller, await controller.down("shop", volumes=False))
        await succeeded(controller, await controller.up(request(service("web"), name="blog")))


async def test_keys_that_the_engine_cannot_do_are_refused(house: House) -> None:
    refuses = KeySupport(support=Support.REFUSED)
    house.engine.declared = replace(house.engine.capabilities, keys={"*": refuses})
    async with house.running() as controller:
        await refused(controller.up(request(service())), RefusedError, "engine cannot run shop", house)


async def test_what_goes_down_takes_no_release(house: House) -> None:
    async with house.running() as controller:
        await succeeded(controller, await controller.up(request(service())))
        house.router.load("shop.api.1", in_flight=1)
        operation = await controller.down("shop", volumes=False)

        async def is_draining() -> bool:
            return await states(controller) == {"shop.api.1": "draining"}

        await eventually(is_draining, "the replica drains as long as a request is open")
        for call in (
            controller.up(request(service())),
            controller.deploy("shop", "api", None, {"A": "1"}),
            controller.scale("shop", {"api": 2}),
            controller.down("shop", volumes=False),
        ):
            with pytest.raises(RefusedError, match="going down"):
                await call
        house.router.load("shop.api.1", in_flight=0)
        await succeeded(controller, operation)


async def test_two_projects_keep_out_of_each_others_way(house: House) -> None:
    async with house.running() as controller:
        first = await controller.up(request(service(), name="shop"))
        second = await controller.up(request(service(port=8081), name="blog"))
        await asyncio.gather(succeeded(controller, first), succeeded(controller, second))
        await succeeded(controller, await controller.down("blog", volumes=False))
        assert [row.id for row in await controller.replicas()] == ["shop.api.1"]
        assert (await controller.project("shop")).state == "running"
