"""The options that several verbs share.

Called by `cli.verbs`; imports click alone, because it decides how fast a verb starts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import click

from fairlead.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


def selection_options(function: Function) -> Function:
    """The options that say which project is meant, handed over as ``selection``.

    Verbs that load the files take `cli.project_options` instead, which is slower to import.
    """
    return _selecting(function, "-f")


def long_selection_options(function: Function) -> Function:
    """The same for a verb whose ``-f`` means to follow."""
    return _selecting(function)


def _selecting(function: Function, *short: str) -> Function:
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        project_name: str | None,
        files: tuple[str, ...],
        env_files: tuple[str, ...],
        project_directory: str | None,
        **rest: Any,
    ) -> Any:
        from fairlead.cli.selection import Selection

        selection = Selection(project=project_name, files=files, env_files=env_files, directory=project_directory)
        return function(*args, selection=selection, **rest)

    options = (
        click.option(
            "-p", "--project-name", metavar="NAME", help="The project; else the one of the Compose file here."
        ),
        click.option(*short, "--file", "files", metavar="FILE", multiple=True, help="A Compose file. Repeatable."),
        click.option(
            "--env-file", "env_files", metavar="FILE", multiple=True, help="Variables instead of .env. Repeatable."
        ),
        click.option("--project-directory", metavar="DIR", help="The folder that paths count from."),
    )
    decorated: Any = wrapped
    for option in reversed(options):
        decorated = option(decorated)
    return cast(Function, decorated)


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")(function)


@dataclass(frozen=True, slots=True)
class Following:
    """How a verb follows the operation that it asked for. ``timeout_s`` None: to its end.

    ``settle``: its end is not that the release serves, but that it is no longer watched.
    """

    as_json: bool
    wait: bool
    timeout_s: float | None
    settle: bool = False


def following_options(function: Function) -> Function:
    """``--json``, ``--no-wait`` and ``--timeout``, handed over as ``following``."""

    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, no_wait: bool, timeout_s: float | None, **rest: Any) -> Any:
        return function(*args, following=Following(as_json, not no_wait, timeout_s), **rest)

    decorated: Any
    decorated = click.option(
        "--timeout",
        "timeout_s",
        type=float,
        callback=seconds,
        metavar="SECONDS",
        help="Stop waiting after that long; the release goes on.",
    )(wrapped)
    decorated = click.option("--no-wait", is_flag=True, help="Return at once and let it go on in the background.")(
        decorated
    )
    return cast(Function, json_option(decorated))


def release_options(function: Function) -> Function:
    """:func:`following_options` and ``--settle``, for verbs that make a release that is watched afterwards."""

    @functools.wraps(function)
    def wrapped(*args: Any, settle: bool, following: Following, **rest: Any) -> Any:
        if settle and not following.wait:
            raise click.UsageError("--settle waits and --no-wait does not: give one of them")
        return function(*args, following=replace(following, settle=settle), **rest)

    option = click.option(
        "--settle", is_flag=True, help="Return when the release is no longer watched; 5 if it was taken back."
    )
    return following_options(cast(Function, option(wrapped)))


class Whole(click.IntRange):
    """A whole number from ``min`` up; what is none is not called "no valid integer range"."""

    name = "whole number"


def seconds(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A callback for options that take a span of time: above 0 (``nan`` passes for a number, so it is said)."""
    if value is not None and not value > 0:
        raise click.BadParameter("it must be above 0", ctx=ctx, param=param)
    return value


def assignments(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """A callback for options and arguments of the form ``NAME=VALUE``, or as their metavar says it: the pairs."""
    form = (param.metavar or "NAME=VALUE").rstrip(".")
    pairs = []
    for value in values:
        name, found, text = value.partition("=")
        if not found or not name:
            raise click.BadParameter(f"{value!r} must have the form {form}", ctx=ctx, param=param)
        pairs.append((name, text))
    return tuple(pairs)


def counts(pairs: tuple[tuple[str, str], ...]) -> dict[str, int]:
    """``api=5`` pairs as numbers of replicas.

    :raises UsageError: not a whole number from 0 up, or one service twice.
    """
    result: dict[str, int] = {}
    for service, text in pairs:
        if not (text.isascii() and text.isdigit() and len(text) <= 6):
            raise UsageError(f"`{service}={text}`: the number of replicas must be a whole number from 0 up")
        if service in result:
            raise UsageError(f"the service `{service}` is given twice")
        result[service] = int(text)
    return result
