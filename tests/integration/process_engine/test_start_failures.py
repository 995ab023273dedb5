"""Everything that keeps a command from being executed is said at once, in words, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fairlead.engines.process import ProcessEngine
from fairlead.errors import EngineError, StartFailedError
from fairlead.spec.model import Build, Project, Service, Ulimit
from fairlead.spec.revision import revision_of
from tests.contract.engines.harness import processes_of
from tests.integration.process_engine.world import World


def script(directory: Path, name: str, text: str, mode: int = 0o755) -> str:
    path = directory / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def refused(world: World, engine: ProcessEngine, *command: str, **fields: Any) -> StartFailedError:
    with pytest.raises(StartFailedError) as caught:
        await engine.start(world.spec(1, *command, **fields))
    assert await engine.projects() == ()
    assert processes_of(world.home) == []
    return caught.value


async def test_no_such_command(world: World, engine: ProcessEngine) -> None:
    error = await refused(world, engine, "gunicrn", environment={"PATH": "/bin:/usr/bin"})
    assert error.message == "api: command not found: gunicrn (looked in PATH /bin:/usr/bin)"
    assert error.hint


async def test_a_directory_that_cannot_be_looked_into_is_passed_over(world: World, engine: ProcessEngine) -> None:
    """As exec does it; too long a name stands for a directory of another user, which root can read."""
    error = await refused(world, engine, "gunicrn", environment={"PATH": f"/{'x' * 300}:/bin"})
    assert error.message.startswith("api: command not found: gunicrn (looked in PATH /xxx")


async def test_no_such_path(world: World, engine: ProcessEngine) -> None:
    error = await refused(world, engine, "./serve", "--fast")
    assert error.message == f"api: command not found: {world.directory}/serve"
    assert error.hint == "the command is ./serve --fast"


async def test_not_executable(world: World, engine: ProcessEngine) -> None:
    path = script(world.directory, "serve", "#!/bin/sh\n", 0o644)
    error = await refused(world, engine, path)
    assert error.message == f"api: permission denied: {path} is not executable"
    assert error.hint == f"chmod +x {path}"


async def test_a_directory(world: World, engine: ProcessEngine) -> None:
    error = await refused(world, engine, str(world.directory))
    assert "is a directory" in error.message


async def test_no_such_interpreter(world: World, engine: ProcessEngine) -> None:
    path = script(world.directory, "serve", "#!/no/such/python\n")
    error = await refused(world, engine, path)
    assert error.message == f"api: {path}: its interpreter /no/such/python does not exist"


async def test_neither_program_nor_script(world: World, engine: ProcessEngine) -> None:
    path = script(world.directory, "serve", "echo no first line\n")
    error = await refused(world, engine, path)
    assert error.message == f"api: {path} is neither a program nor a script"


async def test_no_such_directory(world: World, engine: ProcessEngine) -> None:
    error = await refused(world, engine, "sleep", "1", working_dir="/app")
    assert error.message == "api: working directory /app does not exist"


async def test_a_context_that_is_a_url(world: World, engine: ProcessEngine) -> None:
    error = await refused(world, engine, "sleep", "1", build=Build(context="https://example.org/app.git"))
    assert "https://example.org/app.git is not a directory here" in error.message


async def test_an_unknown_limit(world: World, engine: ProcessEngine) -> None:
    error = await refused(world, engine, "sleep", "1", ulimits={"bogus": Ulimit(soft=1, hard=1)})
    assert "'bogus' is no limit" in error.message


@pytest.mark.skipif(os.geteuid() != 0, reason="others never become another user")
async def test_an_unknown_user(world: World, engine: ProcessEngine) -> None:
    error = await refused(world, engine, "sleep", "1", user="nobody-here")
    assert error.message == "api: user 'nobody-here' does not exist on this machine"


async def test_an_image_alone(world: World, engine: ProcessEngine) -> None:
    service = Service(name="db", image="postgres:17")
    project = Project(name="world", working_dir=str(world.directory), services={"db": service})
    with pytest.raises(StartFailedError, match="db: image postgres:17: the process engine cannot run an image"):
        await engine.prepare(project, lambda _: None)


async def test_prepare_finds_a_missing_command_before_anything_is_touched(world: World, engine: ProcessEngine) -> None:
    good, bad = Service(name="a", command=("sleep", "1")), Service(name="b", command=("gunicrn",))
    project = Project(name="world", working_dir=str(world.directory), services={"a": good})
    assert await engine.prepare(project, lambda _: None) == project
    both = Project(name="world", working_dir=str(world.directory), services={"a": good, "b": bad})
    with pytest.raises(StartFailedError, match="b: command not found: gunicrn"):
        await engine.prepare(both, lambda _: None)
    assert await engine.projects() == ()


async def test_a_folder_that_is_gone_is_found_before_anything_is_touched(world: World, engine: ProcessEngine) -> None:
    folder = world.directory / "app"
    folder.mkdir()
    revision = revision_of(Project(name="world", working_dir=str(folder)), Service(name="api", command=("sleep", "60")))
    await engine.check("world", [revision])
    folder.rmdir()
    with pytest.raises(StartFailedError, match=f"api: .*{folder}"):
        await engine.check("world", [revision])


async def test_prepare_refuses_a_signal_that_could_never_be_sent(world: World, engine: ProcessEngine) -> None:
    service = Service(name="api", command=("sleep", "60"), stop_signal="SIGNOTHING")
    project = Project(name="world", working_dir=str(world.directory), services={"api": service})
    with pytest.raises(EngineError, match="api: stop_signal: 'SIGNOTHING' is no signal"):
        await engine.prepare(project, lambda _: None)
