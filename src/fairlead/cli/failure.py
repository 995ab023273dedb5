"""What a failure looks like: one clear line, the fix below it, an exit code; never a traceback.

Called by `cli.main` for whatever a verb raises. The codes are documented in docs/exit-codes.md.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from fairlead.cli.paint import Tone, paint
from fairlead.errors import FairleadError, SpecError, UsageError

INTERRUPTED = 130
BROKEN_PIPE = 141


def report(error: Exception) -> int:
    """Say on stderr what went wrong; the exit code."""
    if isinstance(error, SpecError):
        return _report_spec(error)
    if isinstance(error, FairleadError):
        say(error.message, error.hint)
        return error.exit_code
    if isinstance(error, click.Abort):
        say("interrupted")
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        return _report_click(error)
    return _report_unexpected(error)


def usage(message: str, hint: str | None = None) -> UsageError:
    return UsageError(message, hint=hint)


def say(message: str, hint: str | None = None) -> None:
    """Write ``error: …`` and, below it, ``hint: …``."""
    print(f"{paint('error:', Tone.BAD, sys.stderr)} {message}", file=sys.stderr)
    if hint:
        print(f"{paint('hint:', Tone.BUSY, sys.stderr)} {hint}", file=sys.stderr)


def _report_spec(error: SpecError) -> int:
    count = len(error.problems)
    if count == 1:
        say(str(error.problems[0]))
        return error.exit_code
    say(f"the Compose file has {count} problems")
    for problem in error.problems:
        print(f"  {str(problem).replace(chr(10), chr(10) + '  ')}", file=sys.stderr)
    return error.exit_code


def _report_click(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        # Its message is the whole help, and nothing is wrong but that there was no command.
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    hint = None
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"{error.ctx.command_path} --help"
    message = error.format_message().rstrip(".")
    say(message[:1].lower() + message[1:], hint)
    return error.exit_code


def _report_unexpected(error: Exception) -> int:
    if os.environ.get("FAIRLEAD_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
        return FairleadError.exit_code
    place = _kept(error)
    say(
        f"something unexpected happened: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else '-'}",
        f"the details are in {place}; please report it" if place else "FAIRLEAD_DEBUG=1 shows the details",
    )
    return FairleadError.exit_code


def _kept(error: Exception) -> Path | None:
    """Write the traceback into the home, over the last one; None where that is not possible."""
    try:
        from fairlead.cli.session import Session

        place = Session().settings.home / "last-error.log"
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.write_text("".join(traceback.format_exception(error)))
    except Exception:
        # Whatever stands in the way here must not hide the error that is being reported.
        return None
    return place
