"""Replicas as containers of one Docker daemon.

The engine is loaded when it is asked for: a command that only wants to know its capabilities speaks to no daemon and
must not pay for the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlead.engines.docker.engine import DockerEngine, create

__all__ = ["DockerEngine", "create"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fairlead.engines.docker import engine

    return getattr(engine, name)
