"""What tells apart the containers of several Fairlead homes on one daemon.

Used by the engine for replicas and by the router for its own container.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

SCOPE = "fairlead.scope"
ROLE = "fairlead.role"


def scope_of(home: Path) -> str:
    """A short name for ``home``, the same on every start."""
    return hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
