"""``$PORT``, ``${PORT_8000}``, ``${PORT:-x}``: what only the engine knows, put into a replica's strings.

Pure. The loader leaves these names alone (:attr:`~fairlead.capabilities.EngineCapabilities.deferred_variables`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

DEFERRED = frozenset({"PORT", "PORT_*"})
_REFERENCE = re.compile(r"\$(?:(PORT(?:_\d+)?)(?!\w)|\{(PORT(?:_\d+)?)(?:(:?[-+?])([^{}]*))?\})")


def port_variables(first: int, ports: Mapping[int, int]) -> dict[str, str]:
    """``PORT`` and one ``PORT_<container port>`` for each container port."""
    return {"PORT": str(first)} | {f"PORT_{target}": str(port) for target, port in ports.items()}


def substitute(text: str, values: Mapping[str, str]) -> str:
    """``text`` with every reference to a name of ``values`` replaced; what is not known stays as it stands."""

    def replace(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        operator, alternative = match[3], match[4]
        if operator in ("+", ":+"):
            return alternative if name in values else ""
        if name in values:
            return values[name]
        return alternative if operator in ("-", ":-") else match[0]

    return _REFERENCE.sub(replace, text)
