# pathlib would add a megabyte to what the keeper costs.
# ruff: noqa: PTH108, PTH110
"""The keeper's loop. Started by `engines.process.client` as ``python -I -S -c …``, one a home.

It outlives the controller, ends by itself when there is neither a client nor a log to keep, and holds no state
that a successor could not read from the run directories: killing it costs nothing but a moment of log delay.
"""

from __future__ import annotations

import fcntl
import marshal
import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from functools import partial

from fairlead.engines.process.keeper.launch import launch_command, launch_replica
from fairlead.engines.process.keeper.logfile import LogFile, Stream
from fairlead.engines.process.keeper.wire import LOCK, PROTOCOL, SOCKET, Message, pack, unpack

BATCH_S = 0.05
"""A stream that has just been read rests until the next multiple of this, so that a busy log costs 20 wake-ups
a second, not one a line. The pipe holds what comes meanwhile."""
FIRST_CLIENT_S = 2.0
"""How long a keeper that has nothing to keep waits for whoever started it."""
LINGER_S = 0.1
"""How long it stays once its last client has left. A client that comes later starts another one."""
MAX_WAIT_S = 60.0
PIPE_BYTES = 256 * 1024
MAX_OUTPUT_BYTES = 64 * 1024
MAX_CLIENT_BACKLOG = 64


class Command:
    """A command that runs beside a replica, until it has ended or its time is up."""

    def __init__(self, pid: int, output: int, deadline: float, answer: Callable[[Message], None]) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.output = output
        self.deadline = deadline
        self.answer = answer
        self.text = b""
        self.timed_out = False


class Keeper:
    def __init__(self, root: str, listener: socket.socket) -> None:
        self._root = root
        self._listener = listener
        self._poll = select.poll()
        self._actions: dict[int, Callable[[], None]] = {}
        self._streams: dict[int, Stream] = {}
        self._resting: dict[int, float] = {}
        self._clients: dict[int, socket.socket] = {}
        self._commands: dict[int, Command] = {}
        self._logs: dict[str, LogFile] = {}
        self._guards: set[int] = set()
        self._quitting = False
        self._idle_since = time.monotonic()
        self._linger_s = FIRST_CLIENT_S
        self._watch(listener.fileno(), self._accept)

    def serve(self) -> None:
        self._adopt_all()
        while not self._done():
            for fd, _ in self._poll.poll(self._timeout_ms()):
                action = self._actions.get(fd)
                if action is not None:
                    action()
            self._wake_resting()
            self._expire_commands()

    def _done(self) -> bool:
        if self._quitting:
            return True
        now = time.monotonic()
        if self._clients or self._streams:
            self._idle_since = now
        return now - self._idle_since > self._linger_s

    def _timeout_ms(self) -> int:
        now = time.monotonic()
        times = list(self._resting.values()) + [command.deadline for command in self._commands.values()]
        if not self._clients and not self._streams:
            times.append(self._idle_since + self._linger_s + 0.01)
        wait_s = min((moment - now for moment in times), default=MAX_WAIT_S)
        wait_s = min(wait_s, MAX_WAIT_S)
        return max(0, math.ceil(wait_s * 1000))

    def _watch(self, fd: int, action: Callable[[], None]) -> None:
        self._actions[fd] = action
        self._poll.register(fd, select.POLLIN)

    def _forget(self, fd: int) -> None:
        if self._actions.pop(fd, None) is not None and fd not in self._resting:
            self._poll.unregister(fd)
        self._resting.pop(fd, None)

    # -- clients ---------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        buffer = bytearray()
        self._clients[connection.fileno()] = connection
        self._linger_s = LINGER_S
        self._watch(connection.fileno(), lambda: self._read_client(connection, buffer))

    def _read_client(self, connection: socket.socket, buffer: bytearray) -> None:
        try:
            data = connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop_client(connection)
            return
        buffer += data
        while (message := unpack(buffer)) is not None:
            self._carry_out(connection, message)

    def _drop_client(self, connection: socket.socket) -> None:
        fd = connection.fileno()
        if fd >= 0 and self._clients.pop(fd, None) is not None:
            self._forget(fd)
            connection.close()

    def _carry_out(self, connection: socket.socket, message: Message) -> None:
        def answer(reply: Message) -> None:
            self._send(connection, reply | {"id": message["id"]})

        operation = getattr(self, f"_on_{message['op']}", None)
        if operation is None:
            answer({"error": "unknown operation"})
            return
        try:
            operation(message, answer)
        except OSError as error:
            answer({"stage": "keeper", "errno": error.errno or 0})

    def _send(self, connection: socket.socket, reply: Message) -> None:
        """An answer is small and the client always reads; one that does not is let go."""
        if connection.fileno() < 0:
            return
        try:
            connection.settimeout(1.0)
            connection.sendall(pack(reply))
            connection.setblocking(False)
        except OSError:
            self._drop_client(connection)

    # -- operations ------------------------------------------------------------------------------------------

    def _on_hello(self, _: Message, answer: Callable[[Message], None]) -> None:
        answer({"protocol": PROTOCOL, "pid": os.getpid()})

    def _on_quit(self, _: Message, answer: Callable[[Message], None]) -> None:
        self._quitting = True
        answer({})

    def _on_launch(self, message: Message, answer: Callable[[Message], None]) -> None:
        self._adopt(message["dir"])
        guard, report = launch_replica(message)

        def reported(outcome: Message) -> None:
            if guard in self._guards and not os.path.exists(f"{message['dir']}/process.json"):
                os.kill(guard, signal.SIGKILL)  # Its replica was killed before it could say who it is.
            answer(outcome)

        self._await_report(report, reported)
        self._guards.add(guard)
        pidfd = os.pidfd_open(guard)
        self._watch(pidfd, lambda: self._guard_ended(guard, pidfd, message["dir"]))

    def _on_drain(self, message: Message, answer: Callable[[Message], None]) -> None:
        for stream in list(self._streams.values()):
            if stream.log is self._logs.get(message["dir"]):
                if _readable(stream.fd):
                    self._drain(stream)
                if message["final"] and not stream.ended:
                    stream.flush()
        answer({})

    def _guard_ended(self, guard: int, pidfd: int, directory: str) -> None:
        self._forget(pidfd)
        os.close(pidfd)
        os.waitpid(guard, 0)
        self._guards.discard(guard)
        self._notice_end(directory)

    def _on_run(self, message: Message, answer: Callable[[Message], None]) -> None:
        pid, output, report = launch_command(message)
        os.set_blocking(output, False)
        command = Command(pid, output, time.monotonic() + message["timeout_s"], answer)
        self._commands[pid] = command

        def reported(outcome: Message) -> None:
            if "stage" in outcome:
                self._end_command(command, outcome)

        self._await_report(report, reported)
        self._watch(command.pidfd, lambda: self._command_ended(command))
        self._watch(output, lambda: self._read_command(command))

    def _await_report(self, report: int, answer: Callable[[Message], None]) -> None:
        def read() -> None:
            data = os.read(report, 4096)
            self._forget(report)
            os.close(report)
            if data:
                stage, number = marshal.loads(data)
                answer({"stage": stage, "errno": number})
            else:
                answer({})

        self._watch(report, read)

    # -- commands --------------------------------------------------------------------------------------------

    def _read_command(self, command: Command) -> None:
        """Keep the first part of the output and throw the rest away, so that the command never blocks on it."""
        try:
            data = os.read(command.output, 65536)
        except BlockingIOError:
            return
        if not data:
            self._forget(command.output)
            return
        command.text += data[: MAX_OUTPUT_BYTES - len(command.text)]

    def _expire_commands(self) -> None:
        now = time.monotonic()
        for command in list(self._commands.values()):
            if now >= command.deadline:
                command.deadline = math.inf
                command.timed_out = True
                _kill_group(command.pid)
                # One that has not begun its session yet has no group; nobody but this loop collects it.
                os.kill(command.pid, signal.SIGKILL)

    def _command_ended(self, command: Command) -> None:
        _kill_group(command.pid)
        for _ in range(4):
            self._read_command(command)
        _, status = os.waitpid(command.pid, 0)
        self._release(command)
        code = os.waitstatus_to_exitcode(status)
        command.answer({"status": code, "output": command.text, "timed_out": command.timed_out})

    def _end_command(self, command: Command, outcome: Message) -> None:
        if command.pid in self._commands:
            os.waitpid(command.pid, 0)
            self._release(command)
            command.answer(outcome)

    def _release(self, command: Command) -> None:
        del self._commands[command.pid]
        for fd in (command.pidfd, command.output):
            self._forget(fd)
            os.close(fd)

    # -- logs ------------------------------------------------------------------------------------------------

    def _adopt_all(self) -> None:
        """Take up the logs of every replica that lives; they were another keeper's."""
        for directory in _living(self._root):
            try:
                self._adopt(directory)
            except (OSError, ValueError):
                continue  # Being removed at this moment.
            self._notice_end(directory)

    def _adopt(self, directory: str) -> None:
        if directory in self._logs:
            return
        with open(f"{directory}/rotation", encoding="ascii") as file:
            max_bytes, max_files = (int(word) for word in file.read().split())
        log = LogFile(f"{directory}/log", max_bytes, max_files)
        for name in ("stdout", "stderr"):
            stream = Stream(os.open(f"{directory}/{name}", os.O_RDONLY | os.O_NONBLOCK), name, log)
            _widen(stream.fd)
            self._streams[stream.fd] = stream
            self._watch(stream.fd, partial(self._drain, stream))
        self._logs[directory] = log

    def _notice_end(self, directory: str) -> None:
        """Have a pipe that nobody writes to report its end: it does so only after a writer has come and gone."""
        for stream in self._streams.values():
            if stream.log is self._logs.get(directory):
                os.close(os.open(f"/proc/self/fd/{stream.fd}", os.O_WRONLY | os.O_NONBLOCK))

    def _drain(self, stream: Stream) -> None:
        read_any = stream.drain()
        if stream.ended:
            self._end_stream(stream)
        elif read_any and stream.fd not in self._resting:
            self._poll.unregister(stream.fd)
            self._resting[stream.fd] = math.ceil(time.monotonic() / BATCH_S) * BATCH_S

    def _end_stream(self, stream: Stream) -> None:
        self._forget(stream.fd)
        del self._streams[stream.fd]
        stream.close()
        if not any(other.log is stream.log for other in self._streams.values()):
            stream.log.close()
            self._logs = {path: log for path, log in self._logs.items() if log is not stream.log}

    def _wake_resting(self) -> None:
        now = time.monotonic()
        for fd in [fd for fd, moment in self._resting.items() if moment <= now]:
            del self._resting[fd]
            self._poll.register(fd, select.POLLIN)


def _living(root: str) -> list[str]:
    """The run directories of replicas that have been started and have not ended, as far as anybody wrote down."""
    projects = [entry.path for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")]
    return [
        entry.path
        for project in sorted(projects)
        for entry in os.scandir(project)
        if not entry.name.startswith(".")
        and os.path.exists(f"{entry.path}/process.json")
        and not os.path.exists(f"{entry.path}/exit.json")
    ]


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _widen(fd: int) -> None:
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        pass


def _readable(fd: int) -> bool:
    """False where a read would mistake a pipe without a writer yet for one that has ended."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def main(root: str) -> None:
    """Serve ``root`` (a home's run directory) in the background, unless another keeper does."""
    if os.fork() != 0:
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    os.chdir("/")
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    lock = os.open(f"{root}/{LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    # A socket's path may have 108 bytes at most, a home's path may be longer: go through the descriptor.
    path = f"/proc/self/fd/{directory}/{SOCKET}"
    if os.path.lexists(path):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(MAX_CLIENT_BACKLOG)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            Keeper(root, listener).serve()
        finally:
            os.unlink(path)
