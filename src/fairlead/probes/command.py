"""The command probe: does a command end with status 0 where the replica runs?

Called by `runner`; the engine runs the command through :attr:`ProbeTarget.run`.
"""

from __future__ import annotations

import asyncio
import time

from fairlead.errors import FairleadError
from fairlead.probes.base import ProbeResult, ProbeTarget
from fairlead.spec.model import Probe

_REPLY_GRACE_S = 0.5
"""How long an engine may take, over the command's own timeout, to say that it timed out."""


async def probe(target: ProbeTarget, probe: Probe) -> ProbeResult:
    """Run the command. Never raises for a target that fails."""
    started_s = time.monotonic()
    passed, seen = await _run(target, probe)
    return ProbeResult(passed=passed, reason=f"{_shown(probe)}: {seen}", duration_s=time.monotonic() - started_s)


async def _run(target: ProbeTarget, probe: Probe) -> tuple[bool, str]:
    if not probe.command:
        return False, "no command is set"
    try:
        async with asyncio.timeout(probe.timeout_s + _REPLY_GRACE_S):
            result = await target.run(probe.command, probe.timeout_s)
    except TimeoutError:
        return False, f"still running after {probe.timeout_s:g} s"
    except FairleadError as error:
        return False, f"cannot run: {error.message}"
    except OSError as error:
        return False, f"cannot run: {error.strerror or error}"
    if result.timed_out:
        return False, f"still running after {probe.timeout_s:g} s"
    return _judged(result.status, result.output)


def _judged(status: int, output: str) -> tuple[bool, str]:
    if status == 0:
        return True, "exited with status 0"
    how = f"exited with status {status}" if status > 0 else f"killed by signal {-status}"
    said = _last_line(output)
    return False, f"{how}: {said}" if said else how


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _shown(probe: Probe) -> str:
    """The program's name only: arguments may hold a password."""
    shell = probe.command[:1] == ("CMD-SHELL",)
    words = probe.command[1].split() if shell and len(probe.command) > 1 else probe.command
    return f"command {words[0]}" if words else "command"
