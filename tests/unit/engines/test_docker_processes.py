"""What the Docker engine makes of the daemon's answers about processes."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.docker_api.client import ApiError
from fairlead.engines.docker.processes import processes_in

OWN = {
    "Titles": ["PID", "PPID", "USER", "ELAPSED", "TIME", "RSS", "COMMAND"],
    "Processes": [
        ["31", "30", "app", "60", "12", "2048", "python3 -m http.server 8000"],
        ["30", "1", "root", "61", "0", "100", "sh -c serve"],
    ],
}
PLAIN = {
    "Titles": ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"],
    "Processes": [["root", "30", "1", "0", "04:01", "?", "00:00:07", "sh -c serve"]],
}


class Daemon:
    """Answers one request after the other; an error is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def get(self, path: str, **params: Any) -> Any:
        self.asked.append(params)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def ask(daemon: Daemon) -> Any:
    return await processes_in(daemon, "c0ffee")  # type: ignore[arg-type]


async def test_our_columns_are_read_by_pid() -> None:
    first, second = await ask(Daemon(OWN))
    assert (first.pid, first.parent, first.user, first.command) == (30, 1, "root", "sh -c serve")
    assert (second.pid, second.cpu_s, second.memory_bytes) == (31, 12, 2048 * 1024)
    assert second.started_at_s - first.started_at_s == pytest.approx(1, abs=0.5)


async def test_a_daemon_that_does_not_know_our_columns_is_asked_for_its_own() -> None:
    daemon = Daemon(ApiError(500, "ps: bad -o argument"), PLAIN)
    (only,) = await ask(daemon)
    assert (only.pid, only.user, only.command) == (30, "root", "sh -c serve")
    assert (only.cpu_s, only.memory_bytes, only.started_at_s) == (None, None, None)
    assert [bool(params) for params in daemon.asked] == [True, False]


@pytest.mark.parametrize("status", [404, 409])
async def test_a_container_that_does_not_run_has_none(status: int) -> None:
    daemon = Daemon(ApiError(status, "is not running"))
    assert await ask(daemon) == ()
    assert len(daemon.asked) == 1


async def test_a_daemon_that_cannot_tell_says_so() -> None:
    with pytest.raises(ApiError):
        await ask(Daemon(ApiError(500, "no ps"), ApiError(500, "no ps")))


async def test_an_answer_without_rows_is_no_process() -> None:
    assert await ask(Daemon({"Titles": OWN["Titles"], "Processes": None})) == ()
