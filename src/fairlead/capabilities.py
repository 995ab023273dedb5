"""What an engine does with each key of a Compose file, as data.

Declared by every engine; read by `plan.preflight`, which must not import engines, so these words live below both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Support(StrEnum):
    """What an engine does with a key of the Compose file."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySupport:
    """How one key is treated, and the reason in words where it is not honoured."""

    support: Support
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCapabilities:
    """What an engine can do.

    ``keys`` maps a dotted key below a service (``privileged``, ``deploy.resources.limits.memory``) to its
    treatment; :meth:`treatment` says how a key is looked up. ``deferred_variables`` are interpolated by the
    engine when a replica starts, so the loader must leave them as they stand; a name that ends in ``*`` stands
    for every name with that beginning. ``runs_images`` False: a service must say its command in the file.
    ``isolates_network``: a replica has a host of its own, whose every port can be reached under its number.
    ``publishes_udp`` False: only the load balancer publishes ports, which carries TCP alone.
    A key of ``keys`` may name one value too (``network_mode=none``), for where that value is treated differently.
    ``notices`` are sentences about the machine at hand that a person should
    read once (``memory limits need a writable cgroup``).
    """

    name: str
    keys: Mapping[str, KeySupport] = field(default_factory=dict)
    isolates_filesystem: bool = False
    isolates_network: bool = False
    limits_memory: bool = False
    limits_cpu: bool = False
    runs_images: bool = True
    publishes_udp: bool = True
    deferred_variables: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()

    def treatment(self, key: str) -> KeySupport:
        """How ``key`` is treated: by its own entry, else by its longest prefix's, else by ``*``; else it is refused."""
        prefix = key
        while prefix:
            if prefix in self.keys:
                return self.keys[prefix]
            prefix = prefix.rpartition(".")[0]
        if "*" in self.keys:
            return self.keys["*"]
        return KeySupport(support=Support.REFUSED, reason=f"the {self.name} engine does not know this key")
