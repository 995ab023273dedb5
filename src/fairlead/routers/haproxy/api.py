"""The Runtime API client: asks HAProxy's master, and through it any worker, and reads the answers.

Used by `pool`, `status` and `router`; knows sockets and texts, no routes. Every worker is addressed by its pid
through the master, so an answer never comes from another worker than the one that was meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fairlead.errors import RouterError, RouterUnavailableError
from fairlead.routers.haproxy.way import LocalSocket, Way

ANSWER_DEADLINE_S = 10.0
_LOOK_AFTER_S = 0.5
_NO_WORKER = ("Can't connect to the target CLI", "Can't find the target")


class WorkerGoneError(RouterUnavailableError):
    """The worker that was asked has ended: look again which ones there are."""


@dataclass(frozen=True, slots=True)
class Processes:
    """What the master knows: itself, the worker that serves now, and workers that finish what they began."""

    master_pid: int
    current: int | None
    old: tuple[int, ...]
    reloads: int
    failed: int

    @property
    def workers(self) -> tuple[int, ...]:
        return self.old if self.current is None else (*self.old, self.current)


@dataclass(frozen=True, slots=True)
class Session:
    """One line of `show sess`: ``id`` is HAProxy's own, ``age_s`` since it began."""

    id: str
    frontend: str
    backend: str
    server: str
    age_s: int


class Master:
    """One HAProxy's master socket; ``place`` is its path on this machine, or another way to it."""

    def __init__(self, place: Path | Way) -> None:
        self.way = LocalSocket(place) if isinstance(place, Path) else place

    async def ask(self, command: str) -> str:
        """One command, its whole answer.

        :raises RouterUnavailableError: nobody answers, or not in time.
        """
        try:
            answer = await self.way.converse(command, ANSWER_DEADLINE_S)
        except TimeoutError:
            raise RouterUnavailableError(f"HAProxy does not answer {command.split()[0]!r} on {self.way}") from None
        except OSError as error:
            raise RouterUnavailableError(f"HAProxy cannot be reached on {self.way}: {error.strerror}") from error
        return answer.decode(errors="replace").strip("\n")

    async def processes(self) -> Processes:
        answer = await self.ask("show proc")
        if not answer.strip():
            # It replaces itself when it has started its first worker, and lets go of who has asked just then.
            raise RouterUnavailableError(f"HAProxy ended the connection without an answer on {self.way}")
        return parse_processes(answer)

    def worker(self, pid: int) -> Worker:
        return Worker(self, pid)


class Worker:
    """The Runtime API of one worker process."""

    def __init__(self, master: Master, pid: int) -> None:
        self._master = master
        self.pid = pid

    async def ask(self, command: str) -> str:
        """One command, its whole answer.

        :raises WorkerGoneError: the worker has ended, perhaps while it was being asked.
        """
        asking = asyncio.create_task(self._master.ask(f"@!{self.pid} {command}"))
        try:
            # A worker that ends with the question in its queue leaves the asker without any answer.
            while not (await asyncio.wait([asking], timeout=_LOOK_AFTER_S))[0]:
                if self.pid not in (await self._master.processes()).workers:
                    raise WorkerGoneError(f"HAProxy's worker {self.pid} has ended")
            answer = await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        if answer.startswith(_NO_WORKER):
            raise WorkerGoneError(f"HAProxy's worker {self.pid} has ended")
        return answer

    async def show(self, command: str) -> str:
        """A question whose answer is never empty."""
        answer = await self.ask(command)
        if not answer.strip():
            raise WorkerGoneError(f"HAProxy's worker {self.pid} ended before it had answered {command!r}")
        return answer

    async def order(self, command: str, *expected: str) -> None:
        """A command that changes something; anything but an expected answer (or silence) is an error."""
        answer = (await self.ask(command)).strip()
        if answer and not answer.startswith(expected or ("\0",)):
            raise RouterError(f"HAProxy refused {command!r}: {answer.splitlines()[0]}")

    async def info(self) -> Mapping[str, str]:
        pairs = (line.partition(": ") for line in (await self.ask("show info")).splitlines())
        return {key.lower(): value for key, _, value in pairs}

    async def statistics(self) -> list[dict[str, str]]:
        """`show stat`: one mapping a frontend, backend and server."""
        lines = [line for line in (await self.show("show stat")).splitlines() if line]
        if not lines[0].startswith("# pxname"):
            raise RouterError(f"HAProxy gave no statistics: {lines[:1]}")
        header = lines[0].removeprefix("# ").split(",")
        return [dict(zip(header, line.split(","), strict=False)) for line in lines[1:]]

    async def open_frontends(self) -> frozenset[str]:
        return frozenset(row["pxname"] for row in await self.statistics() if row["status"] == "OPEN")

    async def servers(self) -> list[dict[str, str]]:
        """`show servers state`: one mapping a server."""
        return _table(await self.show("show servers state"))

    async def connections(self) -> list[dict[str, str]]:
        """`show servers conn`: one mapping a server, with ``bkname/svname`` and ``used_cur``."""
        return _table(await self.show("show servers conn"))

    async def streams(self, table: str) -> dict[str, int]:
        """``backend/server`` → open streams, from the stick table that counts them."""
        found = {}
        for line in (await self.ask(f"show table {table}")).splitlines():
            fields = dict(part.split("=", 1) for part in line.split() if "=" in part)
            if "key" in fields and "conn_cur" in fields:
                found[fields["key"]] = int(fields["conn_cur"])
        return found

    async def sessions(self) -> list[Session]:
        return [session for line in (await self.ask("show sess")).splitlines() if (session := _session(line))]


def parse_processes(text: str) -> Processes:
    """The answer to `show proc` of 2.6 to 3.x."""
    section = ""
    master, reloads, failed = 0, 0, 0
    workers: dict[str, list[int]] = {"# workers": [], "# old workers": []}
    for line in text.splitlines():
        words = line.split()
        if line.startswith("#"):
            section = line.strip()
        elif len(words) > 2 and words[1] == "master":
            master, reloads = int(words[0]), int(words[2])
            failed = int(words[4].rstrip("]")) if words[3] == "[failed:" else 0
        elif len(words) > 2 and words[1] == "worker" and section in workers:
            workers[section].append(int(words[0]))
    if not master:
        raise RouterError(f"HAProxy's master gave no list of its processes: {text[:200]!r}")
    current = workers["# workers"]
    return Processes(master, current[-1] if current else None, tuple(workers["# old workers"]), reloads, failed)


def _table(text: str) -> list[dict[str, str]]:
    header: list[str] = []
    rows = []
    for line in text.splitlines():
        if line.startswith("# "):
            header = line.removeprefix("# ").split()
        elif header and line.strip():
            rows.append(dict(zip(header, line.split(" "), strict=False)))
    if not header:
        raise RouterError(f"HAProxy gave no table: {text[:200]!r}")
    return rows


def _session(line: str) -> Session | None:
    name, colon, rest = line.partition(": ")
    if not colon or not name.startswith("0x"):
        return None
    fields = dict(part.split("=", 1) for part in rest.split() if "=" in part)
    return Session(
        name, fields.get("fe", ""), fields.get("be", ""), fields.get("srv", ""), _seconds(fields.get("age", ""))
    )


def _seconds(text: str) -> int:
    """HAProxy's ages: ``7s``, ``4m10s``, ``2h3m``, ``1d2h``."""
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    total, digits = 0, ""
    for char in text:
        if char.isdigit():
            digits += char
        elif char in units and digits:
            total, digits = total + int(digits) * units[char], ""
    return total
