"""The options that several verbs share.

Called by `cli.verbs`; imports click alone, because it decides how fast a verb starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from fairlead.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])


def project_option(function: Function) -> Function:
    """``-p``: the project by its name."""
    return click.option(
        "-p", "--project-name", "project", metavar="NAME", help="The project; else the one of the Compose file here."
    )(function)


def file_option(function: Function) -> Function:
    """``-f``: the Compose files."""
    return click.option(
        "-f",
        "--file",
        "files",
        metavar="FILE",
        multiple=True,
        type=click.Path(),
        help="A Compose file; may be given several times.",
    )(function)


def selection_options(function: Function) -> Function:
    """``-p`` and ``-f``."""
    return project_option(file_option(function))


def json_option(function: Function) -> Function:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")(function)


@dataclass(frozen=True, slots=True)
class Following:
    """How a verb follows the operation that it asked for. ``timeout_s`` None: to its end."""

    as_json: bool
    wait: bool
    timeout_s: float | None


def following_options(function: Function) -> Function:
    """``--json``, ``--no-wait`` and ``--timeout``, handed over as ``following``."""

    def wrapped(*args: Any, as_json: bool, no_wait: bool, timeout_s: float | None, **rest: Any) -> Any:
        return function(*args, following=Following(as_json, not no_wait, timeout_s), **rest)

    wrapped.__name__ = function.__name__
    wrapped.__doc__ = function.__doc__
    wrapped.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    decorated = click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Stop waiting after that long; the release goes on.",
    )(wrapped)
    decorated = click.option("--no-wait", is_flag=True, help="Return at once and let it go on in the background.")(
        decorated
    )
    return json_option(decorated)  # type: ignore[return-value]


def assignments(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """A callback for options and arguments of the form ``NAME=VALUE``: the pairs."""
    pairs = []
    for value in values:
        name, found, text = value.partition("=")
        if not found or not name:
            raise click.BadParameter(f"{value!r} must have the form NAME=VALUE", ctx=ctx, param=param)
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


def complete_services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The services of the running project: asked of a controller that runs, never of one to be started."""
    try:
        from fairlead.cli.session import Session

        names = Session(timeout_s=0.5).known_services(ctx.params.get("project"), ctx.params.get("files") or ())
    except Exception:
        # A completion that fails must not write into the line that is being typed.
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
