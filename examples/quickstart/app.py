"""A small real web application: every answer says which version and which replica gave it.

Run by `compose.yaml` beside it; what it answers is checked by `fairlead.load`, and so by `make demo` and the tests.

    GET  /?nonce=N          JSON: version, replica and the nonce, back
    GET  /slow?s=2&nonce=N  the same, after s seconds
    POST /echo              the body, byte for byte
    GET  /events?nonce=N    server-sent events, one each beat (``beat=0.25`` seconds), numbered from 0
    WS   /ws                each text message back, with version and replica
    GET  /health            200 when it may serve

Environment: ``VERSION`` (the release under show), ``FAIRLEAD_REPLICA`` (set by Fairlead), ``QUICKSTART_JOURNAL`` (a
file to which each POST appends its nonce, so that a request carried out twice leaves a trace).
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

VERSION = os.environ.get("VERSION", "v1")
REPLICA = os.environ.get("FAIRLEAD_REPLICA", f"pid-{os.getpid()}")
JOURNAL = os.environ.get("QUICKSTART_JOURNAL", "")
SLOWEST_S = 60.0


def headers(request: Request) -> dict[str, str]:
    nonce = request.headers.get("x-nonce") or request.query_params.get("nonce", "")
    return {"x-version": VERSION, "x-replica": REPLICA, "x-nonce": nonce}


def answer(request: Request) -> Response:
    body = {"version": VERSION, "replica": REPLICA, "nonce": request.query_params.get("nonce", "")}
    return JSONResponse(body, headers=headers(request))


async def plain(request: Request) -> Response:
    return answer(request)


async def slow(request: Request) -> Response:
    await asyncio.sleep(min(float(request.query_params.get("s", "2")), SLOWEST_S))
    return answer(request)


async def echo(request: Request) -> Response:
    body = await request.body()
    if JOURNAL:
        record(request.headers.get("x-nonce", ""))
    return Response(body, media_type="application/octet-stream", headers=headers(request))


def record(nonce: str) -> None:
    """One short write to a file opened for appending is atomic, so that all replicas may share the journal."""
    with Path(JOURNAL).open("ab", buffering=0) as journal:
        journal.write(f"{nonce} {VERSION} {REPLICA}\n".encode())


async def events(request: Request) -> Response:
    beat_s = float(request.query_params.get("beat", "0.25"))
    nonce = request.query_params.get("nonce", "")

    async def stream() -> AsyncIterator[str]:
        number = 0
        while True:
            data = {"n": number, "nonce": nonce, "version": VERSION, "replica": REPLICA}
            yield f"id: {number}\ndata: {json.dumps(data)}\n\n"
            number += 1
            await asyncio.sleep(beat_s)

    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers(request))


async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            text = await socket.receive_text()
            await socket.send_json({"echo": text, "version": VERSION, "replica": REPLICA})
    except WebSocketDisconnect:
        return


async def health(request: Request) -> Response:
    return PlainTextResponse("ok\n", headers=headers(request))


app = Starlette(
    routes=[
        Route("/", plain),
        Route("/slow", slow),
        Route("/echo", echo, methods=["POST"]),
        Route("/events", events),
        Route("/health", health),
        WebSocketRoute("/ws", websocket),
    ]
)
