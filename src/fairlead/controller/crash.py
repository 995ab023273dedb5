"""The place at which a controller kills itself, for tests of what its successor makes of that.

Used by `execute`. ``FAIRLEAD_CRASH_AT`` names a file. While there is one that says ``n:before`` or ``n:after``, the
controller dies by SIGKILL before or after the effect of the n-th command that it begins since the file was written;
the file goes first, so its successor lives. A word after a second colon tells one writing from the next.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Literal

Moment = Literal["before", "after"]


class CrashPoint:
    def __init__(self, path: str) -> None:
        """``path`` empty: it never comes."""
        self._path = Path(path) if path else None
        self._said = ""
        self._begun = 0

    def begin(self) -> int:
        """Another command begins; its number since the file was written, 0 without one."""
        said = self._read()
        if said != self._said:
            self._said, self._begun = said, 0
        self._begun += bool(said)
        return self._begun

    def reached(self, number: int, moment: Moment) -> None:
        """The command ``number`` is at ``moment``."""
        if self._path is None or not number or f"{number}:{moment}" != ":".join(self._said.split(":")[:2]):
            return
        if self._read() == self._said:
            self._path.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def _read(self) -> str:
        if self._path is not None:
            with suppress(OSError):
                return self._path.read_text(encoding="ascii")
        return ""
