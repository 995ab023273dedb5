"""The engine that runs replicas as local processes. See docs/engines/process.md for its promises.

`controller` imports :class:`ProcessEngine` from here. It is loaded on first use: the keeper, a small program
of this package that must stay small in memory, imports the package too and has no need of the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairlead.engines.process.engine import ProcessEngine

__all__ = ["ProcessEngine"]


def __getattr__(name: str) -> Any:
    if name == "ProcessEngine":
        from fairlead.engines.process.engine import ProcessEngine

        return ProcessEngine
    raise AttributeError(name)
