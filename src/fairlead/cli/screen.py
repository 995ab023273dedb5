"""Lines that are drawn over themselves: a table that stays in its place while its numbers change.

Called by verbs that go on showing one thing; the picture of a release is in `cli.live`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from fairlead.cli.paint import coloured


class Screen:
    """Keeps the newest lines on the terminal, cut to its size; the last ones stay at the end."""

    def __init__(self) -> None:
        console = Console(file=sys.stdout, no_color=not coloured(sys.stdout), highlight=False, soft_wrap=False)
        # Nothing else prints meanwhile; rich's stand-in for stdout would hide the terminal's encoding.
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=False,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._live.stop()

    def show(self, lines: Sequence[str]) -> None:
        """Draw ``lines``, which may be painted, in the place of those before."""
        text = Text(no_wrap=True, overflow="crop")
        text.append_text(Text("\n").join(Text.from_ansi(line) for line in lines))
        self._live.update(text, refresh=True)
