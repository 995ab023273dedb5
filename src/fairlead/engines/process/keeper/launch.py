# pathlib would add a megabyte to what the keeper costs.
# ruff: noqa: PTH108
"""Fork a replica, or a command beside one, exactly as asked. Called by `keeper.main` alone.

Everything between fork and exec happens here, in a program with one thread, where running Python after a fork
is safe. A replica gets a guard as its parent: see :func:`launch_replica`.
"""

from __future__ import annotations

import errno
import marshal
import os
import resource
import shutil
import signal
from collections.abc import Callable
from typing import NoReturn

from fairlead.engines.process.keeper.wire import Message

GUARD_SLEEP_S = "2147483647"
NO_NEW_PRIVILEGES = 38
UNRECORDED = ("session", "log", "record")


def launch_replica(request: Message) -> tuple[int, int]:
    """Fork the guard and the replica: ``(the guard, the end of a pipe that tells how it went)``.

    The pipe ends without a byte once the replica's command has taken over; else it carries ``(stage, errno)``.

    The guard is the replica's parent and never asks for its exit status, so the kernel itself keeps pid and
    status (a zombie) until an engine has read them, however long no controller runs. It also holds the log's
    pipes open, so that a replica outlives the keeper. It is `sleep`, at about 0.1 MB of its own.
    """
    read_end, write_end = os.pipe()
    guard = os.fork()
    if guard == 0:
        _forever(lambda: _become_guard(request, write_end))
    os.close(write_end)
    return guard, read_end


def launch_command(request: Message) -> tuple[int, int, int]:
    """Fork a command beside a replica: ``(pid, its output, the pipe that tells how it went)``."""
    read_end, write_end = os.pipe()
    output, output_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _forever(lambda: _become_command(request, output_write, write_end))
    os.close(write_end)
    os.close(output_write)
    return pid, output, read_end


def start_ticks(pid: int) -> int:
    """When ``pid`` began, in clock ticks since boot: with the boot id, its identity."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        text = file.read()
    return int(text[text.rindex(b")") + 2 :].split()[19])


def _forever(act: Callable[[], None]) -> NoReturn:
    """Run ``act`` in a forked child and never come back, whatever happens."""
    try:
        act()
    finally:
        os._exit(127)


def _become_guard(request: Message, report: int) -> None:
    os.setsid()
    _default_signals()
    directory = request["dir"]
    pipes = [os.open(f"{directory}/{name}", os.O_RDWR | os.O_NONBLOCK) for name in ("stdout", "stderr")]
    if os.fork() == 0:
        _forever(lambda: _become_replica(request, report))
    null = os.open(os.devnull, os.O_RDWR)
    for source, target in zip((null, null, null, *pipes), range(5), strict=True):
        os.dup2(source, target)
    os.closerange(5, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")
    sleep = shutil.which("sleep", path="/bin:/usr/bin:/usr/local/bin")
    if sleep is not None:
        try:
            os.execve(sleep, ["sleep", GUARD_SLEEP_S], {"FAIRLEAD_GUARD": directory})
        except OSError:
            pass
    while True:
        signal.pause()


def _become_replica(request: Message, report: int) -> None:
    stage = "session"
    try:
        os.setsid()
        stage = "log"
        _redirect(*(os.open(f"{request['dir']}/{name}", os.O_WRONLY) for name in ("stdout", "stderr")))
        stage = "record"
        _record(request)
        for step, act in _preparations(request):
            stage = step
            act()
        stage = "exec"
        os.execve(request["path"], request["argv"], request["env"])
    except (OSError, ValueError) as error:
        _tell(report, stage, error)
        if stage in UNRECORDED:
            os.kill(os.getppid(), signal.SIGKILL)  # Nobody will ever know this guard.


def _become_command(request: Message, output: int, report: int) -> None:
    stage = "session"
    try:
        os.setsid()
        _default_signals()
        _redirect(output, output)
        for step, act in _preparations(request):
            stage = step
            act()
        stage = "exec"
        os.execve(request["path"], request["argv"], request["env"])
    except (OSError, ValueError) as error:
        _tell(report, stage, error)


def _preparations(request: Message) -> list[tuple[str, Callable[[], None]]]:
    """The steps before exec, in their order: what needs rights comes before they are given up."""
    return [
        ("cgroup", lambda: _join(request["cgroups"])),
        ("limits", lambda: _limit(request["rlimits"], request["oom_score_adj"])),
        ("user", lambda: _become_user(request["uid"], request["gid"], request["groups"])),
        ("directory", lambda: os.chdir(request["cwd"])),
        ("no-new-privileges", _forbid_new_privileges if request["no_new_privileges"] else _nothing),
    ]


def _tell(report: int, stage: str, error: Exception) -> None:
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
    os.write(report, marshal.dumps((stage, number), 2))


def _nothing() -> None:
    return


def _record(request: Message) -> None:
    """Write who this process is, once and for all: a link cannot be made twice, so one replica never has two."""
    guard = os.getppid()
    pid = os.getpid()
    temporary = f"{request['dir']}/process.{pid}"
    text = (
        f'{{"pid": {pid}, "start_ticks": {start_ticks(pid)}, "boot_id": "{request["boot_id"]}", '
        f'"guard": {guard}, "guard_start_ticks": {start_ticks(guard)}, "started_at_s": {request["now_s"]!r}}}\n'
    )
    with open(temporary, "w", encoding="ascii") as file:
        file.write(text)
    try:
        os.link(temporary, f"{request['dir']}/process.json")
    finally:
        os.unlink(temporary)


def _redirect(stdout: int, stderr: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)


def _default_signals() -> None:
    """Undo what this interpreter set for itself, or was given by a shell: ignored signals outlive exec."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)


def _join(cgroups: list[str]) -> None:
    for procs in cgroups:
        fd = os.open(procs, os.O_WRONLY)
        os.write(fd, b"0")
        os.close(fd)


def _limit(rlimits: list[tuple[int, int, int]], oom_score_adj: int | None) -> None:
    for which, soft, hard in rlimits:
        resource.setrlimit(which, (soft, hard))
    if oom_score_adj is not None:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(oom_score_adj))


def _become_user(uid: int | None, gid: int | None, groups: list[int] | None) -> None:
    if groups is not None:
        os.setgroups(groups)
    if gid is not None:
        os.setgid(gid)
    if uid is not None:
        os.setuid(uid)


def _forbid_new_privileges() -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
