"""Images: built, pinned to their content, kept for a rollback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.docker_api.build import build_image
from fairlead.docker_api.client import ApiError
from fairlead.errors import StartFailedError
from fairlead.observed import Health
from fairlead.spec.model import Build, FileReference, Healthcheck, Service
from fairlead.spec.revision import revision_of
from tests.docker_world import BUSYBOX
from tests.integration.docker.conftest import World

pytestmark = pytest.mark.docker

DOCKERFILE = f"""\
FROM {BUSYBOX} AS base
ARG WORD=none
COPY . /app/
FROM base AS extra
RUN echo extra > /app/stage
FROM base AS last
ARG WORD=none
RUN echo "$WORD" > /app/word
CMD ["sleep", "1000"]
"""


def context(folder: Path) -> Path:
    made = folder / "context"
    (made / "kept").mkdir(parents=True)
    (made / "left").mkdir()
    (made / "Dockerfile").write_text(DOCKERFILE)
    (made / ".dockerignore").write_text("# comment\n*.log\nleft\n!left/except.log\n**/deep.tmp\n")
    for name in ("a.txt", "b.log", "left/c.txt", "left/except.log", "kept/d.log", "kept/deep.tmp"):
        (made / name).write_text(name)
    return made


def built(folder: Path, **build: object) -> Service:
    return Service(name="app", build=replace(Build(context=str(folder)), **build), init=True)  # type: ignore[arg-type]


async def forget_images(world: World) -> None:
    found = await world.engine.client.get("/images/json")
    for tag in [tag for image in found for tag in image["RepoTags"] or () if world.name in tag]:
        await world.engine.client.delete(f"/images/{tag}", force=True)


async def test_a_build_honours_arguments_target_and_ignore(world: World) -> None:
    lines: list[str] = []
    project = world.project(built(context(world.folder), args={"WORD": "hello"}, labels={"org.example": "yes"}))
    try:
        project = await world.engine.prepare(project, lines.append)
        spec = await world.started(project, "app")
        assert await world.sh(spec, "cat /app/word") == "hello"
        files = await world.sh(spec, "cd /app; ls a.txt kept/d.log left/except.log; ls; ls left kept")
        assert "c.txt" not in files
        assert "b.log" not in files
        assert "deep.tmp" not in files
        assert any("COPY" in line for line in lines)
        detail = await world.inspect(spec)
        assert detail["Config"]["Labels"]["org.example"] == "yes"
        await world.engine.stop(spec.id, 0.0)
        await world.engine.remove(spec.id)
    finally:
        await forget_images(world)


@pytest.mark.parametrize("buildkit", ["0", "1"])
async def test_both_builders_take_every_key_and_show_their_steps(world: World, buildkit: str) -> None:
    lines: list[str] = []
    client, tag = world.engine.client, f"{world.name}-app:{buildkit}"
    build = Build(
        context=str(context(world.folder)),
        args={"WORD": "hello"},
        target="last",
        labels={"org.example": "yes"},
        cache_from=(BUSYBOX,),
        platforms=("linux/amd64",),
        no_cache=True,
    )
    environ = {"DOCKER_BUILDKIT": buildkit}
    try:
        found = await build_image(client, "app", build, tag=tag, platform=None, environ=environ, report=lines.append)
        image = await client.get(f"/images/{tag}/json")
        assert image["Id"] == found
        assert image["Config"]["Labels"]["org.example"] == "yes"
        assert (image["Os"], image["Architecture"]) == ("linux", "amd64")
        assert any("RUN echo" in line for line in lines), lines
        project = await world.engine.prepare(world.project(Service(name="app", image=tag, init=True)), print)
        assert await world.sh(await world.started(project, "app"), "cat /app/word") == "hello"
    finally:
        await world.close()
        await forget_images(world)
        await client.close()


async def test_the_same_source_is_the_same_revision_and_other_source_another(world: World) -> None:
    folder = context(world.folder)
    service = built(folder, target="base")
    try:
        first = await world.engine.prepare(world.project(service), print)
        again = await world.engine.prepare(world.project(service), print)
        assert revision_of(again, again.services["app"]) == revision_of(first, first.services["app"])
        assert await world.engine.resolve(world.project(service)) == first
        (folder / "a.txt").write_text("changed")
        other = await world.engine.prepare(world.project(service), print)
        assert other.services["app"].image != first.services["app"].image
        # The first build is still there under its own name, for a rollback.
        for project in (first, other):
            assert (await world.engine.client.get(f"/images/{project.services['app'].image}/json"))["Id"]
    finally:
        await forget_images(world)


async def test_an_inline_dockerfile_and_one_outside_the_context(world: World) -> None:
    folder = context(world.folder)
    (world.folder / "Other").write_text(f"FROM {BUSYBOX}\nRUN echo other > /which\nCMD sleep 1000\n")
    try:
        for number, build in enumerate(
            (
                {"dockerfile_inline": f"FROM {BUSYBOX}\nRUN echo inline > /which\nCMD sleep 1000\n"},
                {"dockerfile": "../Other"},
            )
        ):
            project = await world.engine.prepare(world.project(built(folder, **build)), print)
            spec = await world.started(project, "app", number + 1)
            assert await world.sh(spec, "cat /which") == ("inline", "other")[number]
    finally:
        await world.close()
        await forget_images(world)
        await world.engine.client.close()


async def test_a_failing_build_says_what_it_said(world: World) -> None:
    text = f"FROM {BUSYBOX}\nRUN echo before; echo the-reason >&2; exit 9\n"
    project = world.project(built(context(world.folder), dockerfile_inline=text))
    with pytest.raises(StartFailedError) as failure:
        await world.engine.prepare(project, lambda _: None)
    assert "app cannot be built" in failure.value.message
    assert "the-reason" in failure.value.message


async def test_what_needs_a_build_client_is_refused(world: World) -> None:
    project = world.project(built(context(world.folder), extra={"secrets": [{"source": "x"}]}))
    with pytest.raises(StartFailedError, match=r"build\.secrets"):
        await world.engine.prepare(project, print)


async def test_an_image_is_pinned_to_its_content(world: World) -> None:
    project = world.project(Service(name="app", image=BUSYBOX, command=("sleep", "9")))
    pinned = await world.engine.prepare(project, print)
    image = await world.engine.client.get(f"/images/{BUSYBOX}/json")
    assert pinned.services["app"].image == image["Id"]
    assert await world.engine.resolve(project) == pinned
    assert await world.engine.prepare(pinned, print) == pinned


async def test_the_health_check_of_an_image_is_observed_and_grants_time_to_start(world: World) -> None:
    check = "HEALTHCHECK --interval=20s --start-period=100s CMD test -e /tmp/well"
    text = f"FROM {BUSYBOX}\n{check}\nCMD sleep 1000\n"
    service = built(context(world.folder), dockerfile_inline=text)
    try:
        project = await world.engine.prepare(world.project(service), print)
        assert await world.engine.resolve(world.project(service)) == project
        assert await world.engine.prepare(project, print) == project
        assert project.services["app"].options.probes.start_timeout_s == 190.0
        spec = await world.started(project, "app")
        seen = await world.one(spec)
        test = ("CMD-SHELL", "test -e /tmp/well")
        assert seen.native_check == Healthcheck(test=test, interval_s=20, start_period_s=100)
        assert seen.native_health is Health.STARTING
        other = replace(service, healthcheck=Healthcheck(disable=True))
        project = await world.engine.prepare(world.project(other), print)
        assert project.services["app"].options.probes.start_timeout_s is None
        assert (await world.one(await world.started(project, "app", 2))).native_check is None
    finally:
        await world.close()
        await forget_images(world)
        await world.engine.client.close()


async def test_an_image_that_nobody_has_fails_before_anything_starts(world: World) -> None:
    name = "localhost:1/nobody/has-this:1"
    for policy in (None, "never", "always"):
        project = world.project(Service(name="app", image=name, pull_policy=policy))
        with pytest.raises(StartFailedError, match="has-this"):
            await world.engine.prepare(project, print)


async def test_a_changed_secret_is_another_revision(world: World) -> None:
    (world.folder / "key").write_text("one")
    service = Service(name="app", image=BUSYBOX, secrets=(FileReference(source="key"),))
    project = world.project(service, secrets={"key": {"file": "key"}})
    first = await world.engine.prepare(project, print)
    (world.folder / "key").write_text("two")
    second = await world.engine.prepare(project, print)
    assert revision_of(first, first.services["app"]).id != revision_of(second, second.services["app"]).id


async def test_an_image_that_is_gone_is_named(world: World) -> None:
    project = world.project(built(context(world.folder), target="base"))
    project = await world.engine.prepare(project, print)
    await forget_images(world)
    with pytest.raises(ApiError):
        await world.engine.client.get(f"/images/{project.services['app'].image}/json")
    with pytest.raises(StartFailedError, match=r"fairlead/.*-app"):
        await world.started(project, "app")
