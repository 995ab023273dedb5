"""The number of a signal by the names that a Compose file may give it, which are Docker's.

Called by `engine` before it sends one, and when it looks whether a file can run.
"""

from __future__ import annotations

import re
import signal

from fairlead.errors import EngineError

_REAL_TIME = re.compile(r"RT(?:MIN(?:\+([0-9]+))?|MAX(?:-([0-9]+))?)")


def signal_number(name: str) -> int:
    """``SIGTERM``, ``term``, ``15``, ``SIGRTMIN+3``.

    :raises EngineError: there is no such signal.
    """
    text = name.upper().removeprefix("SIG")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else _by_name(text)
    if number not in signal.valid_signals():
        raise EngineError(f"{name!r} is no signal", hint="write SIGTERM, SIGINT, SIGQUIT …")
    return number


def _by_name(text: str) -> int:
    """0, which is no signal, where nothing is named so."""
    real_time = _REAL_TIME.fullmatch(text)
    if real_time is None:
        known = signal.Signals.__members__.get(f"SIG{text}")
        return 0 if known is None else int(known)
    above, below = (int(digits[:3] or 0) if digits else 0 for digits in real_time.groups())
    number = int(signal.SIGRTMIN) + above if text.startswith("RTMIN") else int(signal.SIGRTMAX) - below
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else 0
