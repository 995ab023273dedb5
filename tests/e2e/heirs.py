"""A controller whose heir is at hand: when it is killed, another one begins at once. Run as a process of its own.

Each controller is a process forked from this one, which has imported everything, so that a crash costs the test no
start of an interpreter. Started by `mortal`; ends with the first controller that ends by itself.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import traceback

ADAPTERS = ("fairlead.engines.process", "fairlead.engines.docker", "fairlead.routers.haproxy.docker")
_PR_SET_PDEATHSIG = 1


def main() -> int:
    for name in ("fairlead.api.daemon", *ADAPTERS):
        importlib.import_module(name)
    while True:
        child = os.fork()
        if child == 0:
            os._exit(live())
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            return os.waitstatus_to_exitcode(status)


def live() -> int:
    """One controller's life."""
    from fairlead.api.daemon import run
    from fairlead.settings import Settings

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        return run(Settings.from_environ(os.environ))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        return 1


if __name__ == "__main__":
    sys.exit(main())
