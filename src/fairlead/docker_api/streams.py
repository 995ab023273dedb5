"""The raw streams of a container, or of a command in one, in our types and with our errors.

Made by `client`; read by the Docker engine (`exec`) and by the relay of a router. aiodocker takes the frames apart.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import aiohttp
from aiodocker.stream import Stream

from fairlead.errors import EngineUnavailableError

BROKEN_OFF = (OSError, aiohttp.ClientError, AssertionError, RuntimeError)
"""How aiodocker says that there is no connection any more; it asserts what a lost one has taken away."""

_STDOUT = 1


class Source(StrEnum):
    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class Piece:
    """What came at once; a line may be spread over several."""

    source: Source
    data: bytes


class RawStream:
    """An open stream. ``gone`` makes the error of a connection that broke off."""

    def __init__(self, stream: Stream, gone: Callable[[Exception], EngineUnavailableError]) -> None:
        self._stream = stream
        self._gone = gone

    async def read(self) -> Piece | None:
        """What comes next; None: the other side has ended it.

        :raises EngineUnavailableError: the connection broke off.
        """
        try:
            message = await self._stream.read_out()
        except BROKEN_OFF as error:
            raise self._gone(error) from error
        if message is None:
            return None
        return Piece(Source.STDOUT if message.stream == _STDOUT else Source.STDERR, message.data)

    async def write(self, data: bytes) -> None:
        """:raises EngineUnavailableError: the connection broke off."""
        try:
            await self._stream.write_in(data)
        except BROKEN_OFF as error:
            raise self._gone(error) from error

    async def close(self) -> None:
        """Let go of it, in whatever state it is."""
        with suppress(*BROKEN_OFF):
            await self._stream.close()
