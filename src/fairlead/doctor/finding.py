"""One thing that was looked at, how it is, and what to do about it. Made by `judge`, printed by the command line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """``ok``: as it should be. ``notice``: a limit worth knowing. ``warning``: may fail. ``error``: will not work."""

    OK = "ok"
    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """``fix`` is empty where there is nothing to do."""

    check: str
    level: Level
    message: str
    fix: str = ""
