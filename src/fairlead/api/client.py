"""The API's client: synchronous, of the standard library, so that `fairlead ps` imports no event loop.

Called by `cli` and by scripts. One connection a call; every wait has a deadline. What the controller raised
comes back as the same class of :mod:`fairlead.errors`.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from fairlead.api import unix
from fairlead.api.bodies import (
    NOTICE_HEADER,
    DeployBody,
    DownBody,
    ExecBody,
    RestartBody,
    RollbackBody,
    ScaleBody,
)
from fairlead.controller.controls import (
    ControllerStatus,
    Operation,
    ProcessRow,
    ProjectStatus,
    ReleaseRow,
    ReplicaRow,
    StatsRow,
    UpRequest,
)
from fairlead.engines.base import CommandResult, LogLine
from fairlead.errors import ControllerError, DeadlineError, from_json
from fairlead.store.base import Event

CALL_TIMEOUT_S = 30.0
SILENCE_TIMEOUT_S = 30.0
"""A stream carries a heartbeat every few seconds; this long without any means that the controller hangs."""

_LONGEST_LINE_BYTES = 16 * 2**20
_READ_BYTES = 65536

Value = TypeVar("Value")


class NotRunningError(ControllerError):
    """No controller listens on the socket."""


class ConnectionLostError(ControllerError):
    """The controller went away in the middle of an answer."""


class Client:
    """Talks to the controller that listens on ``socket_path``.

    Every method raises :class:`NotRunningError`, :class:`ConnectionLostError`,
    :class:`~fairlead.errors.DeadlineError`, and what the controller itself raised.
    """

    def __init__(self, socket_path: Path, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._socket_path = socket_path
        self._timeout_s = timeout_s
        self.on_notice: Callable[[str], None] = lambda notice: None
        """Called with what the controller wants a person to know beside an answer."""

    def status(self) -> ControllerStatus:
        return self._call("GET", "/v1/controller", ControllerStatus)

    def stop_controller(self) -> None:
        self._call("POST", "/v1/controller/stop", dict[str, Any], {})

    def projects(self) -> tuple[ProjectStatus, ...]:
        return self._call("GET", "/v1/projects", tuple[ProjectStatus, ...])

    def project(self, project: str) -> ProjectStatus:
        return self._call("GET", _of(project), ProjectStatus)

    def replicas(self, project: str | None = None) -> tuple[ReplicaRow, ...]:
        return self._call("GET", "/v1/replicas" + _query(project=project), tuple[ReplicaRow, ...])

    def stats(self, project: str) -> tuple[StatsRow, ...]:
        return self._call("GET", _of(project, "stats"), tuple[StatsRow, ...])

    def processes(self, project: str) -> tuple[ProcessRow, ...]:
        return self._call("GET", _of(project, "processes"), tuple[ProcessRow, ...])

    def history(self, project: str) -> tuple[ReleaseRow, ...]:
        return self._call("GET", _of(project, "history"), tuple[ReleaseRow, ...])

    def operation(self, project: str, operation_id: str) -> Operation:
        return self._call("GET", _of(project, "operations", operation_id), Operation)

    def plan(self, request: UpRequest) -> dict[str, Any]:
        return self._call("POST", "/v1/plan", dict[str, Any], request)

    def up(self, request: UpRequest) -> Operation:
        return self._call("POST", "/v1/releases", Operation, request)

    def deploy(self, project: str, service: str, image: str | None, environment: Mapping[str, str]) -> Operation:
        body = DeployBody(service=service, image=image, environment=environment)
        return self._call("POST", _of(project, "deploy"), Operation, body)

    def rollback(self, project: str, release: int | None = None) -> Operation:
        return self._call("POST", _of(project, "rollback"), Operation, RollbackBody(release=release))

    def restart(self, project: str, services: Sequence[str] = ()) -> Operation:
        return self._call("POST", _of(project, "restart"), Operation, RestartBody(services=tuple(services)))

    def scale(self, project: str, replicas: Mapping[str, int]) -> Operation:
        return self._call("POST", _of(project, "scale"), Operation, ScaleBody(replicas=replicas))

    def pause(self, project: str) -> ProjectStatus:
        return self._call("POST", _of(project, "pause"), ProjectStatus, {})

    def resume(self, project: str) -> ProjectStatus:
        return self._call("POST", _of(project, "resume"), ProjectStatus, {})

    def down(self, project: str, *, volumes: bool = False) -> Operation:
        return self._call("POST", _of(project, "down"), Operation, DownBody(volumes=volumes))

    def run(self, project: str, replica_id: str, argv: Sequence[str], timeout_s: float) -> CommandResult:
        body = ExecBody(replica_id=replica_id, argv=tuple(argv), timeout_s=timeout_s)
        return self._call("POST", _of(project, "exec"), CommandResult, body, extra_s=timeout_s)

    def events(
        self, project: str | None = None, *, after: int = 0, last: int | None = None, follow: bool = False
    ) -> Stream[Event]:
        query = _query(project=project, after=after, last=last, follow=int(follow))
        return self._stream("/v1/events" + query, Event)

    def logs(
        self, project: str, services: Sequence[str] = (), *, follow: bool = False, tail: int | None = None
    ) -> Stream[LogLine]:
        query = _query(service=list(services), follow=int(follow), tail=tail)
        return self._stream(_of(project, "logs") + query, LogLine)

    def _call(self, method: str, path: str, kind: type[Value], body: Any = None, extra_s: float = 0.0) -> Value:
        connection = _Connection(self._socket_path, self._timeout_s + extra_s)
        try:
            response = connection.answer(method, path, body)
            data = connection.guarded(response.read)
        finally:
            connection.close()
        if notice := response.getheader(NOTICE_HEADER):
            self.on_notice(notice)
        return _decoded(data, kind)

    def _stream(self, path: str, kind: type[Value]) -> Stream[Value]:
        connection = _Connection(self._socket_path, SILENCE_TIMEOUT_S)
        try:
            return Stream(connection, connection.answer("GET", path), kind)
        except BaseException:
            connection.close()
            raise


class Stream(Generic[Value]):
    """Values as the controller sends them. ``close`` may be called by another thread and ends the iteration."""

    def __init__(self, connection: _Connection, response: http.client.HTTPResponse, kind: type[Value]) -> None:
        self._connection = connection
        self._response = response
        self._kind = kind
        self._closed = False

    def __iter__(self) -> Iterator[Value]:
        rest = b""
        try:
            while data := self._connection.guarded(lambda: self._response.read1(_READ_BYTES)):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _LONGEST_LINE_BYTES:
                    raise ControllerError("the controller sent a line that is too long")
                for line in lines:
                    if line:
                        yield self._value(line)
        except (ControllerError, DeadlineError):
            if not self._closed:
                raise
        finally:
            self._connection.close()

    def close(self) -> None:
        self._closed = True
        self._connection.interrupt()

    def _value(self, line: bytes) -> Value:
        content = _decoded(line, dict[str, Any])
        if isinstance(error := content.get("error"), dict):
            raise from_json(error)
        return _converted(content, self._kind)


class _Connection(http.client.HTTPConnection):
    """HTTP over the unix socket, with the errors of sockets turned into Fairlead's."""

    def __init__(self, socket_path: Path, timeout_s: float) -> None:
        super().__init__("fairlead", timeout=timeout_s)
        self._socket_path = socket_path
        self._timeout_s = timeout_s
        self._opened: socket.socket | None = None

    def connect(self) -> None:
        try:
            self._opened = self.sock = unix.connect(self._socket_path, self._timeout_s)
        except TimeoutError:
            raise
        except PermissionError as error:
            raise ControllerError(
                f"the controller's socket cannot be opened: {self._socket_path}: {error.strerror}",
                hint=unix.way_in(self._socket_path, "600"),
            ) from error
        except OSError as error:
            raise NotRunningError(
                f"no controller runs: nobody answers on {self._socket_path}",
                hint="`fairlead up` starts one; FAIRLEAD_HOME says which home is meant",
            ) from error

    def answer(self, method: str, path: str, body: Any = None) -> http.client.HTTPResponse:
        """The response to a request, its body unread; an error status is raised as the error it carries."""
        data = None if body is None else msgspec.json.encode(body, enc_hook=_plain)
        headers = {} if data is None else {"Content-Type": "application/json"}
        self.guarded(lambda: self._send(method, path, data, headers))
        response = self.guarded(self.getresponse)
        if response.status >= 400:
            raise from_json(_decoded(self.guarded(response.read), dict[str, Any]))
        return response

    def guarded(self, call: Callable[[], Value]) -> Value:
        """What ``call`` returns; an error of the socket comes as one of Fairlead's."""
        try:
            return call()
        except TimeoutError as error:
            raise DeadlineError(
                f"the controller did not answer within {self._timeout_s:.0f} s",
                hint="it may be stopped or overloaded; `fairlead controller status` shows its process",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLostError(
                "the connection to the controller was lost", hint="replicas and router go on without it"
            ) from error

    def interrupt(self) -> None:
        """Wake a thread that waits in a read; it meets the end of the connection."""
        if self._opened is not None:
            try:
                self._opened.shutdown(socket.SHUT_RDWR)
            except OSError:
                # Already closed from the other side: what this call was for.
                return

    def _send(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> None:
        try:
            self.request(method, path, body=data, headers=dict(headers))
        except BrokenPipeError:
            # The server may refuse a body before it has read it all; its answer is there to be read.
            return


def _of(project: str, *rest: str) -> str:
    return "/v1/projects/" + "/".join(quote(part, safe="") for part in (project, *rest))


def _query(**values: Any) -> str:
    given = {name: value for name, value in values.items() if value is not None}
    text = urlencode(given, doseq=True)
    return f"?{text}" if text else ""


def _plain(value: Any) -> Any:
    """A mapping of another kind (the loader has one that is filled when it is read) as a dict."""
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"{type(value).__name__} cannot cross the wire")


def _decoded(data: bytes, kind: type[Value]) -> Value:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _misunderstood(error) from error


def _converted(content: Mapping[str, Any], kind: type[Value]) -> Value:
    try:
        return msgspec.convert(content, type=kind)
    except msgspec.ValidationError as error:
        raise _misunderstood(error) from error


def _misunderstood(error: Exception) -> ControllerError:
    return ControllerError(
        f"the controller's answer cannot be read: {error}",
        hint="it may be of another version; `fairlead controller stop`, and the next command starts this one",
    )
