"""The JSON bodies that the API takes where `controller.controls` has no value for them.

Written by `api.client`, read by the resources of `api`; free of aiohttp, because the command line imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NOTICE_HEADER = "Fairlead-Notice"
"""What a person should know beside an answer, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployBody:
    """``image`` None: keep the image. ``environment``: variables to set on top of the file's."""

    service: str
    image: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBody:
    """``release`` None: the one before the current."""

    release: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartBody:
    """``services`` empty: every service."""

    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleBody:
    replicas: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DownBody:
    volumes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecBody:
    replica_id: str
    argv: tuple[str, ...]
    timeout_s: float = 60.0
