"""The near end of the relay on another machine: orders go out over one stream, answers come back in any order.

Made by `elsewhere`, which knows how a relay is started. See `relay_program` for what is spoken.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from fairlead.docker_api.streams import Piece, Source
from fairlead.errors import EngineUnavailableError, RouterUnavailableError
from fairlead.routing import Address

GREETING_TIMEOUT_S = 20.0
_MARGIN_S = 5.0
_MOST_WORDS_BYTES = 2000
_MOST_LINE_BYTES = 100
# Whatever HAProxy has to say is far below a hundred megabytes.
_LINE = re.compile(rb"([0-9]{1,18}) ([a-z]{1,20}) ([0-9]{1,8})")
_AT_ONCE = 128


class Until(StrEnum):
    """How much of an answer is wanted."""

    CONNECTED = "connected"
    HEAD = "head"
    END = "end"


class Line(Protocol):
    """The standard streams of a relay; see :class:`fairlead.docker_api.streams.RawStream`."""

    async def read(self) -> Piece | None: ...

    async def write(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    word: str
    data: bytes


@dataclass
class _Words:
    """The last of what the relay says outside of its answers."""

    text: bytes = b""

    def add(self, data: bytes) -> None:
        self.text = (self.text + data)[-_MOST_WORDS_BYTES:]

    def __str__(self) -> str:
        lines = self.text.decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")


@dataclass
class Parser:
    """Takes the stream apart, wherever it is cut."""

    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[tuple[int, Answer]]:
        """:raises ValueError: this is not what a relay says."""
        self._rest += data
        found = []
        while (end := self._rest.find(b"\n")) >= 0:
            number, word, size = _taken_apart(bytes(self._rest[:end]))
            whole = end + 1 + size
            if len(self._rest) < whole:
                break
            found.append((number, Answer(word, bytes(self._rest[end + 1 : whole]))))
            del self._rest[:whole]
        if end < 0 and len(self._rest) > _MOST_LINE_BYTES:
            raise _no_answer(bytes(self._rest))
        return found


def _taken_apart(line: bytes) -> tuple[int, str, int]:
    """Number, word and size; no other way of writing a number is one, least of all a negative size."""
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise _no_answer(line)
    return int(parts[1]), parts[2].decode(), int(parts[3])


def _no_answer(line: bytes) -> ValueError:
    return ValueError(f"no answer of a relay: {line[:_MOST_LINE_BYTES].decode(errors='replace')}")


class Relay:
    """One relay that runs, until its stream ends. ``ipv6``: whether its machine speaks that."""

    def __init__(self, stream: Line) -> None:
        self.ipv6 = False
        self._stream = stream
        self._words = _Words()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {0: asyncio.get_running_loop().create_future()}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._over = False
        self._reading = asyncio.get_running_loop().create_task(self._read(), name="answers of the relay")

    @property
    def over(self) -> bool:
        """It has ended, or cannot be reached any more."""
        return self._over

    async def greet(self) -> None:
        """:raises RouterUnavailableError: it does not come up."""
        try:
            async with asyncio.timeout(GREETING_TIMEOUT_S):
                self.ipv6 = (await self._waiting[0]).data == b"6"
        except TimeoutError:
            raise RouterUnavailableError(f"the relay does not come up: {self._words}") from None

    async def ask(self, place: str, port: int, request: bytes, *, until: Until, timeout_s: float) -> Answer:
        """:raises RouterUnavailableError: the relay ended, or keeps silent."""
        number = next(self._numbers)
        order = f"{number} {until} {timeout_s:.3f} {place} {port} {len(request)}\n".encode() + request
        async with self._slots:
            if self._over:
                raise self._ended()
            answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting[number] = answer
            try:
                async with asyncio.timeout(timeout_s + _MARGIN_S):
                    await self._stream.write(order)
                    return await answer
            except TimeoutError:
                # It would have said that the other side is late. So the stream leads nowhere, though nobody closed it.
                self._words.add(b"\nno answer")
                self._reading.cancel()
                raise RouterUnavailableError("the relay gives no answer") from None
            except EngineUnavailableError as error:
                raise self._ended() from error
            finally:
                del self._waiting[number]
                answer.cancel()

    async def reach(self, address: Address, request: bytes, timeout_s: float) -> bytes:
        """Connect to a replica, send ``request`` and read the head of its answer; without a request connect only.

        :raises OSError: there is no connection.
        :raises TimeoutError: no answer in time.
        """
        until = Until.HEAD if request else Until.CONNECTED
        return _good(await self.ask(address.host, address.port, request, until=until, timeout_s=timeout_s))

    async def converse(self, socket: Path, command: str, timeout_s: float) -> bytes:
        """What HAProxy answers to one command; its master ends the connection when it is told to.

        :raises OSError: nobody listens.
        :raises TimeoutError: there was no whole answer in time.
        """
        request = f"{command}\nquit\n".encode()
        return _good(await self.ask(f"unix@{socket}", 0, request, until=Until.END, timeout_s=timeout_s))

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        parser = Parser()
        try:
            while (piece := await self._stream.read()) is not None:
                if piece.source is not Source.STDOUT:
                    self._words.add(piece.data)
                    continue
                for number, answer in parser.feed(piece.data):
                    waiting = self._waiting.get(number)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(answer)
        except (EngineUnavailableError, ValueError) as error:
            self._words.add(f"\n{error}".encode())
        finally:
            self._over = True
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(self._ended())
                    waiting.exception()  # whoever waits hears of it, and nobody need wait
            await self._stream.close()

    def _ended(self) -> RouterUnavailableError:
        return RouterUnavailableError(f"the relay has ended: {self._words}")


def _good(answer: Answer) -> bytes:
    if answer.word == "late":
        raise TimeoutError
    if answer.word == "unconnected":
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    if answer.word != "ok":
        raise OSError(answer.data.decode(errors="replace"))
    return answer.data
