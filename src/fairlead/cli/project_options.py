"""The options of every verb that loads Compose files: ``-f``, ``-p``, ``--env-file``, ``--profile`` and so on.

Used as a decorator by each such verb; :func:`load_options` turns what the user gave into :class:`LoadOptions`. Here,
and nowhere below, the process environment, the working directory and stdin are read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import click

from fairlead.errors import UsageError
from fairlead.spec.environment import LoadOptions
from fairlead.spec.yaml_reader import MAX_BYTES

F = TypeVar("F", bound=Callable[..., Any])

ENGINE_VARIABLES = frozenset(("PORT",))
"""What the process engine fills in when a replica starts."""


def project_options(function: F) -> F:
    """Add the options; the names of the parameters are those of :class:`LoadOptions`, in the plural as there."""
    for option in reversed(
        (
            click.option(
                "-f", "--file", "files", multiple=True, metavar="FILE", help="Compose file; '-' is stdin. Repeatable."
            ),
            click.option("-p", "--project-name", "project_name", metavar="NAME", help="Project name."),
            click.option(
                "--env-file", "env_files", multiple=True, metavar="FILE", help="Variables instead of .env. Repeatable."
            ),
            click.option(
                "--profile",
                "profiles",
                multiple=True,
                metavar="NAME",
                help="Profile to enable; '*' is all. Repeatable.",
            ),
            click.option(
                "--project-directory", "project_directory", metavar="DIR", help="The folder that paths count from."
            ),
        )
    ):
        function = option(function)
    return function


def load_options(
    context: click.Context | None = None, *, deferred_variables: frozenset[str] = frozenset()
) -> LoadOptions:
    """:class:`LoadOptions` from the parameters of the running verb."""
    parameters = (context or click.get_current_context()).params
    files, stdin = _with_pipe(tuple(parameters.get("files") or ()))
    return LoadOptions(
        files=files,
        project_name=parameters.get("project_name"),
        project_directory=parameters.get("project_directory"),
        env_files=tuple(parameters.get("env_files") or ()),
        profiles=tuple(parameters.get("profiles") or ()),
        environment=dict(os.environ),
        cwd=os.getcwd(),  # noqa: PTH109
        stdin=stdin,
        deferred_variables=deferred_variables,
    )


def _with_pipe(files: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """``files`` with a pipe (`-f <(…)`) as ``-``, and what comes out of it or of stdin: it can be read only once."""
    pipes = sorted({file for file in files if file == "-" or Path(file).is_fifo()})
    if not pipes:
        return files, None
    if len(pipes) > 1:
        raise UsageError("one Compose file can come through a pipe, and there are several", hint="write them to files")
    pipe = pipes[0]
    with nullcontext(sys.stdin.buffer) if pipe == "-" else Path(pipe).open("rb") as stream:
        text = stream.read(MAX_BYTES + 1).decode("utf-8", "surrogateescape")
    return tuple("-" if file == pipe else file for file in files), text
