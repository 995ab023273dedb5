"""The processes inside a replica's container, as the daemon's machine sees them: for `fairlead top`.

Called by `engine`. The daemon runs `ps` for it; one that does not know our columns is asked for its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fairlead.docker_api.client import ApiError, Client
from fairlead.engines.base import ReplicaProcess

COLUMNS = "-eo pid,ppid,user,etimes,cputimes,rss,args"


async def processes_in(client: Client, container_id: str) -> tuple[ReplicaProcess, ...]:
    """Every process of the container, by pid; none where it does not run."""
    path = f"/containers/{container_id}/top"
    try:
        try:
            table = await client.get(path, ps_args=COLUMNS)
        except ApiError as error:
            if error.status in (404, 409):
                raise
            table = await client.get(path)
    except ApiError as error:
        if error.status in (404, 409):
            return ()
        raise
    titles = [str(title) for title in table.get("Titles") or ()]
    rows = [dict(zip(titles, row, strict=False)) for row in table.get("Processes") or ()]
    found = [_process(row, time.time()) for row in rows]
    return tuple(sorted((process for process in found if process is not None), key=lambda process: process.pid))


def _process(row: Mapping[str, Any], now_s: float) -> ReplicaProcess | None:
    pid = _number(row.get("PID"))
    if pid is None:
        return None
    age_s, resident_kib = _number(row.get("ELAPSED")), _number(row.get("RSS"))
    return ReplicaProcess(
        pid=pid,
        parent=_number(row.get("PPID")),
        user=str(row.get("USER") or row.get("UID") or ""),
        started_at_s=now_s - age_s if age_s is not None else None,
        # `ps -f` has a TIME too, but as 00:00:01.
        cpu_s=_number(row.get("TIME")),
        memory_bytes=resident_kib * 1024 if resident_kib is not None else None,
        command=str(row.get("COMMAND") or row.get("CMD") or ""),
    )


def _number(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else None
