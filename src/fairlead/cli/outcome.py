"""Follow an operation, show how it goes, and say how it ended.

Called by every verb that makes an operation. Ctrl-C detaches: the release goes on, and the last line says so.
"""

from __future__ import annotations

import re
import sys
import time
from contextlib import AbstractContextManager
from typing import Any

import click

from fairlead.cli.failure import INTERRUPTED
from fairlead.cli.follow import Follower
from fairlead.cli.options import Following
from fairlead.cli.output import duration, note, print_json, say
from fairlead.cli.paint import Tone, is_terminal, paint, symbol
from fairlead.cli.session import Session
from fairlead.cli.views import PlainView
from fairlead.controller.controls import Operation, OperationKind, OperationState
from fairlead.errors import FairleadError, ReleaseFailedError, from_json

_FAILURES = {
    OperationState.ROLLED_BACK: "was taken back",
    OperationState.FAILED: "failed",
    OperationState.PAUSED: "is paused after a failure",
}

_NOBODY_LISTENS = re.compile(r"\b(?:tcp|GET) \S+: connection refused")
"""What the probes of tcp and http say of it. A command's own words may be about anybody."""

_WHERE_TO_LISTEN = (
    "nobody listens there: a local process has to listen on $PORT, a container on 0.0.0.0 and the port of the file"
)


def conclude(session: Session, operation: Operation, following: Following) -> int:
    """Follow ``operation`` as asked and say how it ended; the id of the last event that was shown.

    :raises ReleaseFailedError: it did not reach what was asked for; what was before is serving, or it is paused.
    :raises FairleadError: no release has begun; what stood in the way, as the controller met it.
    """
    if not operation.changed and operation.state is OperationState.SUCCEEDED:
        _report(operation, following, f"{operation.project}: {operation.message or 'nothing to do'}")
        return operation.first_event
    if not following.wait:
        text = f"{operation.project}: {_what(operation)} goes on in the background; {_how_to_watch(operation)}"
        _report(operation, following, text)
        return operation.first_event
    begun = time.monotonic()
    follower, ended = _followed(session, operation, following)
    if ended is None:
        note(f"detached: {_what(operation)} goes on in the background; {_how_to_watch(operation)}")
        raise click.exceptions.Exit(INTERRUPTED)
    if ended.state is not OperationState.SUCCEEDED:
        if following.as_json:
            print_json(ended)
        raise _failure(ended)
    _report(ended, following, _success(ended, time.monotonic() - begun, _remark(follower, following)))
    return follower.after


def _followed(session: Session, operation: Operation, following: Following) -> tuple[Follower, Operation | None]:
    """The follower and the operation as it ended; None where Ctrl-C came first."""
    with _view(operation, following) as view:
        follower = Follower(session, operation, view, following.timeout_s, settle=following.settle)
        try:
            return follower, follower.to_end()
        except KeyboardInterrupt:
            return follower, None


def _view(operation: Operation, following: Following) -> AbstractContextManager[Any]:
    if following.as_json:
        return PlainView(sys.stderr)
    if is_terminal(sys.stdout):
        from fairlead.cli.live import LiveView

        return LiveView(operation)
    return PlainView(sys.stdout)


def _report(operation: Operation, following: Following, text: str) -> None:
    if following.as_json:
        print_json(operation)
    else:
        say(text)


def _remark(follower: Follower, following: Following) -> str:
    """That the release may still be taken back by itself, or that this is over."""
    if following.settle:
        return " and has settled" if follower.was_watched else ""
    left_s = round(follower.watch_left_s)
    return f", watched for {left_s} s more" if left_s else ""


def _success(operation: Operation, took_s: float, remark: str) -> str:
    text = operation.message or f"{_what(operation)} has ended"
    if not operation.changed:
        text, remark = "nothing to change", ""
    text += remark
    sign = paint(symbol("ready"), Tone.GOOD)
    return f"{sign} {operation.project}: {text} {paint(f'({duration(took_s)})', Tone.DIM)}"


def _failure(operation: Operation) -> FairleadError:
    if operation.error is not None:
        return from_json(operation.error)
    message = f"{operation.project}: {_what(operation)} {_FAILURES.get(operation.state, str(operation.state))}"
    if operation.message:
        message += f": {operation.message}"
    hint = f"`fairlead events -p {operation.project}` tells how it went, `fairlead logs` what the replicas wrote"
    if _NOBODY_LISTENS.search(operation.message):
        hint = f"{_WHERE_TO_LISTEN}; {hint}"
    if operation.state is OperationState.PAUSED:
        hint = f"`fairlead resume -p {operation.project}` goes on with it, `fairlead rollback` takes it back"
    return ReleaseFailedError(message, hint=hint)


def _what(operation: Operation) -> str:
    """The operation in words: ``release 4``, ``scale``, ``down``."""
    if operation.release is None or operation.kind in (OperationKind.DOWN, OperationKind.SCALE):
        return str(operation.kind)
    return f"release {operation.release}"


def _how_to_watch(operation: Operation) -> str:
    return f"watch it with: fairlead events -f -p {operation.project}"
