"""Which project is meant, found out cheaply: an error in the file must not stop `ps` or `rollback`.

Called by `cli.session`. The order is Compose's: ``-p``, ``COMPOSE_PROJECT_NAME`` (from the environment or
``.env``), the file's ``name``, the folder's name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fairlead.spec.environment import LoadOptions, find_sources, normalized_name
from fairlead.spec.report import Report
from fairlead.spec.template import RequiredError, TemplateError, substitute

_NAME_LINE = re.compile(r"""^name:[ \t]+(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#&*!|>%@`{\[][^#\n]*))""", re.MULTILINE)
_MOST_READ_BYTES = 4 * 2**20


def project_name(explicit: str | None, files: Sequence[str]) -> str | None:
    """The project's name; None where neither an option nor a file here says one.

    :raises SpecError: a file that was named does not exist, or ``.env`` is broken.
    """
    if explicit:
        return explicit
    options = LoadOptions(files=tuple(files), environment=dict(os.environ), cwd=str(Path.cwd()))
    report = Report()
    sources = find_sources(options, report)
    if sources is None:
        return os.environ.get("COMPOSE_PROJECT_NAME") or None
    named = sources.environment.get("COMPOSE_PROJECT_NAME") or _written(sources.files, sources.environment)
    return named or normalized_name(Path(sources.working_dir).name) or None


def _written(files: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The top-level ``name`` of the last file that has one, read without reading the rest of the YAML."""
    for file in reversed(files):
        if file != "-" and (found := _NAME_LINE.search(_text(file))):
            literal = found[2]
            text = literal or _substituted((found[1] or found[3] or "").strip(), environment)
            if text:
                return text
    return None


def _text(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            return stream.read(_MOST_READ_BYTES).decode("utf-8", "replace")
    except OSError:
        # The verbs that need the file's content say what is wrong with it; here the folder's name does.
        return ""


def _substituted(text: str, environment: Mapping[str, str]) -> str | None:
    try:
        return substitute(text, environment.get, lambda name: None)
    except (TemplateError, RequiredError):
        return None
