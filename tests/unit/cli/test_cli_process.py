"""`fairlead` as a process of its own: Ctrl-C, a controller that dies, terminals and pipes."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from background import controllers_of, is_running, wait_for
from serving import DEADLINE_S

from fairlead.api.client import Client
from fairlead.controller.controls import OperationState
from fairlead.settings import Settings

Spawned = Callable[..., "subprocess.Popen[str]"]


def until(stream: IO[str] | None, text: str) -> str:
    """The line that has ``text`` in it, read from ``stream``; the test's own deadline ends a wait in vain."""
    assert stream is not None
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"the output ended without {text!r}")


def client_of(home: Path) -> Client:
    return Client(Settings(home=home).socket_path, timeout_s=DEADLINE_S)


def test_nothing_outlives_a_test_run_that_was_killed(spawned: Spawned, home: Path, folder: Path) -> None:
    tests = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        process = spawned("up", "-d", script="ENDLESS", environment={"TESTS_PID": str(tests.pid)})
        until(process.stdout, "is ready")
        controllers = controllers_of(home)
        assert controllers
    finally:
        tests.kill()
        tests.communicate(timeout=DEADLINE_S)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not any(map(is_running, controllers)), "the end of the controller")


def test_ctrl_c_leaves_a_release_alone(spawned: Spawned, home: Path, folder: Path) -> None:
    process = spawned("up", "-d", script="ENDLESS")
    until(process.stdout, "is ready")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "detached: release 2 goes on in the background; watch it with: fairlead events -f -p shop" in errors
    assert client_of(home).operation("shop", "op-1").state is OperationState.RUNNING


def test_ctrl_c_after_the_release_detaches_with_success(spawned: Spawned, home: Path, folder: Path) -> None:
    process = spawned("up")
    until(process.stdout, "release 2 serves")
    until(process.stdout, "api.3 │ hello")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
    assert "detached: shop goes on" in errors
    assert client_of(home).project("shop").state == "running"


@pytest.mark.parametrize("args", [("logs", "-f"), ("events", "-f")])
def test_ctrl_c_ends_what_follows(spawned: Spawned, folder: Path, args: tuple[str, ...]) -> None:
    assert spawned("up", "-d").wait(DEADLINE_S) == 0
    process = spawned(*args)
    until(process.stdout, "hello" if args[0] == "logs" else "serves")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, "")


def test_a_controller_that_is_killed_is_started_again_and_the_release_followed_to_its_end(
    spawned: Spawned, home: Path, folder: Path
) -> None:
    process = spawned("up", "-d", script="CUT")
    until(process.stdout, "is ready")
    killed = client_of(home).status().pid
    os.kill(killed, signal.SIGKILL)
    output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    assert "the controller went away; starting it again" in output
    assert "is ready" not in output
    assert "✓ shop: release 2 serves" in output
    assert client_of(home).status().pid != killed


def test_followed_logs_survive_the_controller(spawned: Spawned, home: Path, folder: Path) -> None:
    assert spawned("up", "-d").wait(DEADLINE_S) == 0
    process = spawned("events", "-f")
    until(process.stdout, "serves")
    killed = client_of(home).status().pid
    os.kill(killed, signal.SIGKILL)
    until(process.stderr, "starting it again")
    wait_for(lambda: (found := running_pid(home)) is not None and found != killed, "a new controller")


def running_pid(home: Path) -> int | None:
    try:
        return client_of(home).status().pid
    except Exception:
        return None


def test_a_stopped_controller_is_not_started_again_by_what_follows(spawned: Spawned, home: Path, folder: Path) -> None:
    assert spawned("up", "-d").wait(DEADLINE_S) == 0
    process = spawned("events", "-f")
    until(process.stdout, "serves")
    assert spawned("controller", "stop").wait(DEADLINE_S) == 0
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 7
    assert "the controller was stopped" in errors
    assert running_pid(home) is None


def test_a_controller_that_cannot_start_shows_the_end_of_its_log(spawned: Spawned, home: Path, folder: Path) -> None:
    (home / "controller.log").write_text("an old line\n")
    process = spawned("up", "-d", script="BROKEN")
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 7
    assert "the controller ended at once (status 1)" in errors
    assert "    no space left on device" in errors
    assert "an old line" not in errors


def test_two_commands_at_once_start_one_controller(spawned: Spawned, home: Path, folder: Path) -> None:
    processes = [spawned("ps", "--json") for _ in range(3)]
    for process in processes:
        output, errors = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, output) == (0, "[]\n"), errors


def test_a_controller_outlives_the_command_and_its_terminal(spawned: Spawned, home: Path, folder: Path) -> None:
    process = spawned("ps")
    assert process.wait(DEADLINE_S) == 0
    pid = client_of(home).status().pid
    assert os.getsid(pid) == pid
    assert is_running(pid)
    assert (home / "controller.log").stat().st_mode & 0o777 == 0o600


def test_a_reader_that_goes_away_is_no_error(spawned: Spawned, folder: Path) -> None:
    assert spawned("up", "-d").wait(DEADLINE_S) == 0
    process = spawned("events", "-f")
    until(process.stdout, "starts")
    assert process.stdout is not None
    process.stdout.close()
    assert spawned("rollback").wait(DEADLINE_S) == 0
    assert process.wait(DEADLINE_S) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""


def on_a_terminal(
    spawned: Spawned, *args: str, columns: int = 80, lines: int = 24, ends_with: str = "", **options: Any
) -> tuple[int, str]:
    """Exit code and everything written to a terminal of that size; Ctrl-C comes as soon as ``ends_with`` is there."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = spawned(*args, stdin=slave, stdout=slave, stderr=slave, **options)
    os.close(slave)
    written = bytearray()
    try:
        while data := os.read(master, 65536):
            written += data
            if ends_with and ends_with.encode() in written:
                ends_with = ""
                process.send_signal(signal.SIGINT)
    except OSError:
        # How a pseudo-terminal says that its last user has gone.
        pass
    finally:
        os.close(master)
    return process.wait(DEADLINE_S), written.decode()


ENVIRONMENT = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "NO_COLOR": ""}


def test_a_terminal_gets_a_picture_that_is_drawn_over_itself(spawned: Spawned, folder: Path) -> None:
    code, text = on_a_terminal(spawned, "up", "-d", interval_s="replicas", environment=ENVIRONMENT)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "• shop.api.3  starting   api@22222222" in plain
    assert "↓ shop.api.1  draining" in plain
    assert "2 in flight (1 stream)" in plain
    assert "\x1b[1A" in text
    assert "\x1b[32m" in text
    assert "✓ shop: release 2 serves (" in plain


def test_stats_go_on_on_a_terminal_until_ctrl_c(spawned: Spawned, folder: Path) -> None:
    assert spawned("up", "-d").wait(DEADLINE_S) == 0
    code, text = on_a_terminal(spawned, "stats", columns=120, ends_with="25.0%", environment=ENVIRONMENT)
    assert code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert plain.count("REPLICA") >= 2
    assert "\x1b[1A" in text
    assert "Traceback" not in plain


def test_a_terminal_without_colours_gets_none(spawned: Spawned, folder: Path) -> None:
    code, text = on_a_terminal(spawned, "up", "-d", interval_s="replicas", environment=ENVIRONMENT | {"NO_COLOR": "1"})
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text)


def test_a_failure_on_a_terminal_stays_in_sight(spawned: Spawned, folder: Path) -> None:
    code, text = on_a_terminal(spawned, "up", "-d", script="FAILURE", interval_s="replicas", environment=ENVIRONMENT)
    assert code == 5
    assert "failed: exited with status 3" in text
    assert "was taken back" in text


def test_a_small_terminal_is_no_trouble(spawned: Spawned, folder: Path) -> None:
    for columns, lines in ((12, 3), (0, 0)):
        code, _ = on_a_terminal(spawned, "up", "-d", columns=columns, lines=lines, environment=ENVIRONMENT)
        assert code == 0


def test_ctrl_c_on_a_terminal_reaches_the_command_alone(spawned: Spawned, home: Path, folder: Path) -> None:
    process = spawned("up", "-d", script="ENDLESS", start_new_session=True)
    until(process.stdout, "is ready")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert client_of(home).operation("shop", "op-1").state is OperationState.RUNNING


def test_help_imports_little(folder: Path) -> None:
    import sys

    code = "import sys; from fairlead.cli.main import command; command.main(['--help'], standalone_mode=False)"
    check = f"import atexit, sys; atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr)); {code}"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=DEADLINE_S)
    for heavy in ("rich", "aiohttp", "asyncio", "msgspec", "yaml", "http.client", "fairlead.api", "fairlead.spec"):
        assert f"'{heavy}'" not in result.stderr, heavy


def test_listing_imports_no_event_loop(spawned: Spawned, home: Path, folder: Path) -> None:
    import sys

    assert spawned("ps").wait(DEADLINE_S) == 0
    code = "from fairlead.cli.main import command; command.main(['ps', '--json'])"
    check = f"import atexit, sys; atexit.register(lambda: print(sorted(sys.modules), file=sys.stderr)); {code}"
    result = subprocess.run(
        [sys.executable, "-c", check],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        env=os.environ | {"FAIRLEAD_HOME": str(home)},
    )
    assert result.stdout == "[]\n"
    for heavy in ("rich", "aiohttp", "asyncio", "yaml"):
        assert f"'{heavy}'" not in result.stderr, heavy
