"""The way to HAProxy's master socket: what `api` asks through.

A file of this machine as a rule; the launcher of a HAProxy on another machine has one of its own.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

_LONGEST_ANSWER_BYTES = 64 * 1024 * 1024


class Way(Protocol):
    """Carries one command there and its whole answer back; ``str()`` of it names the place."""

    def may_lead_there(self) -> bool:
        """False where asking is useless: nothing has ever listened."""
        ...

    async def converse(self, command: str, timeout_s: float) -> bytes:
        """
        :raises OSError: nobody listens.
        :raises TimeoutError: there was no whole answer in time.
        :raises RouterUnavailableError: the way itself is broken.
        """
        ...


class LocalSocket(Way):
    """A unix socket of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    def may_lead_there(self) -> bool:
        return self._path.exists()

    async def converse(self, command: str, timeout_s: float) -> bytes:
        async with asyncio.timeout(timeout_s):
            return await self._converse(command)

    async def _converse(self, command: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self._path))
        try:
            writer.write(f"{command}\n".encode())
            # The master answers a command that comes without a prompt only when the asker has finished.
            writer.write_eof()
            answer = await reader.read(_LONGEST_ANSWER_BYTES)
            while chunk := await reader.read(_LONGEST_ANSWER_BYTES):
                answer += chunk
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass  # the answer is whole, how the connection ends does not matter
        return answer
