"""A controller that starts the replicas it reads from standard input and dies by SIGKILL at a named point.

Points: ``intent`` (the run directory is written, nothing asked), ``asked`` (the keeper has been asked, its answer
is not awaited), ``started`` (all replicas run).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from fairlead.engines.process import ProcessEngine
from fairlead.engines.process.client import KeeperClient
from fairlead.observed import ReplicaSpec


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(home: Path, point: str) -> None:
    request = KeeperClient.request

    async def dying_request(client: KeeperClient, operation: str, **fields: Any) -> Any:
        if operation == "launch" and point == "intent":
            die()
        if operation == "launch" and point == "asked":
            await client._connect()
            asking = asyncio.create_task(client._ask(operation, 30.0, fields))
            await asyncio.sleep(0)
            die()
            await asking
        return await request(client, operation, **fields)

    KeeperClient.request = dying_request  # type: ignore[assignment,method-assign]
    engine = ProcessEngine(home)
    for spec in msgspec.json.decode(sys.stdin.buffer.read(), type=list[ReplicaSpec]):
        await engine.start(spec)
    die()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
