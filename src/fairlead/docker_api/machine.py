"""Whether a daemon runs on this very machine, whatever way leads to it.

Used by the router, which drives HAProxy and reaches replicas through a relay where it does not, and by the doctor.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from fairlead.docker_api.endpoint import Endpoint


def is_this_machine(endpoint: Endpoint, info: Mapping[str, Any]) -> bool:
    """``info``: what the daemon answers to `/info`. A local socket may lead into a VM, which has another kernel."""
    if info.get("KernelVersion") != platform.release():
        return False
    return endpoint.socket is not None or info.get("Name") == platform.node()


def runs_programs_of_ours(endpoint: Endpoint, info: Mapping[str, Any]) -> bool:
    """Whether a program of this machine runs in the daemon's containers too."""
    if platform.system() != "Linux":
        return False
    return is_this_machine(endpoint, info) or info.get("Architecture") == platform.machine()
