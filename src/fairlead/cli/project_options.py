"""The options of every verb that loads Compose files: ``-f``, ``-p``, ``--env-file``, ``--profile`` and so on.

Used as a decorator by each such verb; :func:`load_options` turns what the user gave into :class:`LoadOptions`. Here,
and nowhere below, the process environment, the working directory and stdin are read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

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
    files = tuple(parameters.get("files") or ())
    return LoadOptions(
        files=files,
        project_name=parameters.get("project_name"),
        project_directory=parameters.get("project_directory"),
        env_files=tuple(parameters.get("env_files") or ()),
        profiles=tuple(parameters.get("profiles") or ()),
        environment=dict(os.environ),
        cwd=os.getcwd(),  # noqa: PTH109
        stdin=sys.stdin.buffer.read(MAX_BYTES + 1).decode("utf-8", "surrogateescape") if "-" in files else None,
        deferred_variables=deferred_variables,
    )
