"""The connection to one Docker daemon: requests with deadlines, and its errors in our words.

Everything that speaks to a daemon goes through it. aiodocker speaks the
raw streams of `exec`; requests and their errors are here, so that each has a deadline and a meaning.
"""

from __future__ import annotations

import asyncio
import functools
import io
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import aiodocker
import aiohttp
from aiodocker.execs import Exec
from aiodocker.stream import Stream

from fairlead.docker_api.endpoint import Endpoint
from fairlead.docker_api.ssh import SshTunnel
from fairlead.docker_api.streams import BROKEN_OFF, RawStream
from fairlead.errors import EngineError, EngineUnavailableError

NEWEST_API = (1, 47)
"""The newest version of the API that this package was written for; daemons speak older ones on request."""

REQUEST_TIMEOUT_S = 60.0
AT_ONCE = 24
"""Requests under way at a time: enough to start a batch in parallel, few enough not to drown the daemon."""

UNCONNECTED = 900
"""What aiodocker gives as the status of an answer where there was none."""

P = ParamSpec("P")
T = TypeVar("T")

Report = Callable[[str], None]
"""Takes one line of progress (a build's step, a pull's layer); never raises."""


class ApiError(Exception):
    """The daemon answered with an error. Never leaves this package: see :func:`translated`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def translated(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Turn what the daemon refused into an :class:`EngineError` at the edge of the package."""

    @functools.wraps(method)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except ApiError as error:
            raise EngineError(f"Docker refused: {error.message}") from error

    return wrapper


class Client:
    """One daemon. Connects at the first request; :meth:`close` lets go."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._docker: aiodocker.Docker | None = None
        self._tunnel: SshTunnel | None = None
        self._version: tuple[int, int] | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._streams: set[aiohttp.ClientResponse] = set()

    async def api_version(self) -> tuple[int, int]:
        """The version of the API that both sides speak."""
        if self._version is None:
            answer = await self._send("GET", "/version", timeout_s=REQUEST_TIMEOUT_S)
            self._version = min(_parsed(str(answer["ApiVersion"])), NEWEST_API)
        return self._version

    async def get(self, path: str, /, *, timeout_s: float = REQUEST_TIMEOUT_S, **params: Any) -> Any:
        return await self._send("GET", await self._versioned(path), params=params, timeout_s=timeout_s)

    async def post(self, path: str, /, body: Any = None, *, timeout_s: float = REQUEST_TIMEOUT_S, **params: Any) -> Any:
        path = await self._versioned(path)
        return await self._send("POST", path, params=params, body=body, timeout_s=timeout_s)

    async def put(
        self, path: str, data: bytes, content_type: str, /, *, timeout_s: float = REQUEST_TIMEOUT_S, **params: Any
    ) -> Any:
        headers = {"Content-Type": content_type}
        path = await self._versioned(path)
        return await self._send("PUT", path, params=params, data=io.BytesIO(data), headers=headers, timeout_s=timeout_s)

    async def delete(self, path: str, /, *, timeout_s: float = REQUEST_TIMEOUT_S, **params: Any) -> Any:
        return await self._send("DELETE", await self._versioned(path), params=params, timeout_s=timeout_s)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        /,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response whose body goes on for as long as the reader likes."""
        path = await self._versioned(path)
        async with self._respond(method, path, params=params, data=data, headers=headers) as response:
            self._streams.add(response)
            try:
                yield response
            finally:
                self._streams.discard(response)

    async def ping(self, timeout_s: float = 5.0) -> Mapping[str, str]:
        """The daemon's answer to a ping: its headers (`Api-Version`, `Builder-Version` …)."""
        try:
            async with asyncio.timeout(timeout_s), self._respond("GET", "/_ping") as response:
                return dict(response.headers)
        except TimeoutError as error:
            raise self._silent(timeout_s) from error

    async def exec_stream(self, exec_id: str) -> RawStream:
        """The output of an exec that has been created, which starts now."""
        docker = await self._of_version()
        return await self._opened(Exec(docker, exec_id, tty=False).start(detach=False))

    async def attached(self, container_id: str) -> RawStream:
        """The standard streams of a container that is not started yet, from its first byte on."""
        docker = await self._of_version()
        stream = docker.containers.container(container_id).attach(stdin=True, stdout=True, stderr=True)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await self._opened(stream)
        except TimeoutError as error:
            raise self._silent(REQUEST_TIMEOUT_S) from error

    async def _of_version(self) -> aiodocker.Docker:
        """aiodocker, told which version of the API to speak where it speaks by itself."""
        major, minor = await self.api_version()
        docker = self._connected()
        docker.api_version = f"v{major}.{minor}"
        return docker

    async def _opened(self, stream: Stream) -> RawStream:
        made = RawStream(stream, self._gone)
        try:
            await stream.__aenter__()
        except BaseException as error:
            await made.close()
            if isinstance(error, aiodocker.DockerError) and error.status != UNCONNECTED:
                raise ApiError(error.status, str(error.message)) from error
            if isinstance(error, (aiodocker.DockerError, *BROKEN_OFF)):
                raise self._gone(error) from error
            raise
        return made

    async def close(self) -> None:
        """Let go of the daemon. Whoever still reads a stream is woken with :class:`EngineUnavailableError`."""
        for response in self._streams:
            response.content.set_exception(aiohttp.ClientConnectionError("the connection was closed here"))
        if self._docker is not None:
            docker, self._docker = self._docker, None
            await docker.close()
            await docker.connector.close()
        if self._tunnel is not None:
            tunnel, self._tunnel = self._tunnel, None
            await tunnel.close()

    async def _versioned(self, path: str) -> str:
        major, minor = await self.api_version()
        return f"/v{major}.{minor}{path}"

    def _connected(self) -> aiodocker.Docker:
        if self._docker is None:
            if self.endpoint.scheme == "ssh":
                self._tunnel = SshTunnel(self.endpoint.url)
            self._docker = _connect(self.endpoint, self._tunnel)
        return self._docker

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
    ) -> Any:
        if body is not None:
            data, headers = json.dumps(body), {"Content-Type": "application/json"}
        try:
            async with (
                self._slots,
                asyncio.timeout(timeout_s),
                self._respond(method, path, params=params, data=data, headers=headers) as response,
            ):
                text = await response.read()
        except TimeoutError as error:
            raise self._silent(timeout_s) from error
        if not text or "json" not in response.headers.get("Content-Type", ""):
            return text
        return json.loads(text)

    @asynccontextmanager
    async def _respond(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        docker = self._connected()
        try:
            async with docker.session.request(
                method,
                f"{docker.docker_host}{path}",
                params=_flat(params or {}),
                data=data,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            ) as response:
                if response.status >= 400:
                    raise ApiError(response.status, _message(await response.read()))
                yield response
        except (aiohttp.ClientError, OSError) as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> EngineUnavailableError:
        why = (self._tunnel.said if self._tunnel is not None else "") or error
        return EngineUnavailableError(
            f"the Docker daemon at {self.endpoint.url} does not answer: {why}",
            hint=f"it was named by {self.endpoint.source}; is it running? `fairlead doctor` says more",
        )

    def _silent(self, timeout_s: float) -> EngineUnavailableError:
        return EngineUnavailableError(f"the Docker daemon at {self.endpoint.url} gave no answer in {timeout_s:g} s")


def _connect(endpoint: Endpoint, tunnel: SshTunnel | None) -> aiodocker.Docker:
    """aiodocker on a connector without its limit of 100 connections, which long-lived log streams would use up."""
    connector: aiohttp.BaseConnector
    path = tunnel.path if tunnel is not None else endpoint.socket
    if path is not None:
        return aiodocker.Docker(url="http://docker", connector=aiohttp.UnixConnector(path, limit=0))
    connector = aiohttp.TCPConnector(limit=0, ssl=endpoint.tls.context() if endpoint.tls else True)
    scheme = "https" if endpoint.tls else "http"
    return aiodocker.Docker(url=f"{scheme}://{endpoint.url.partition('://')[2]}", connector=connector)


def _parsed(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _flat(params: Mapping[str, Any]) -> dict[str, str]:
    """Query parameters as the API wants them: JSON for structures, ``1``/``0`` for booleans, None left out."""
    flat = {}
    for key, value in params.items():
        if isinstance(value, bool):
            flat[key] = "1" if value else "0"
        elif isinstance(value, (Mapping, list, tuple)):
            flat[key] = json.dumps(value)
        elif value is not None:
            flat[key] = str(value)
    return flat


def _message(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return str(value.get("message", text)) if isinstance(value, dict) else text
