"""Which project is meant, found out cheaply: an error in the file must not stop `ps` or `rollback`.

Called by `cli.session` and `cli.desired`. The order is Compose's: ``-p``, ``COMPOSE_PROJECT_NAME`` (from the
environment or ``.env``), the file's ``name``, the folder's name.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairlead.spec.environment import LoadOptions, find_sources, fix_for_unreadable, normalized_name
from fairlead.spec.report import Report
from fairlead.spec.template import RequiredError, TemplateError, substitute

_NAME_LINE = re.compile(r"""^name:[ \t]+(?:"([^"\n]*)"|'([^'\n]*)'|([^\s#&*!|>%@`{\[][^#\n]*))""", re.MULTILINE)
_MOST_READ_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the options say about the project that is meant."""

    project: str | None = None
    files: tuple[str, ...] = ()
    env_files: tuple[str, ...] = ()
    directory: str | None = None

    @property
    def name(self) -> str | None:
        """The project's name; None where neither an option nor a file here says one.

        :raises SpecError: a file that was named does not exist, or ``.env`` is broken.
        """
        if self.project:
            return self.project
        return name_of(
            LoadOptions(
                files=self.files,
                project_directory=self.directory,
                env_files=self.env_files,
                environment=dict(os.environ),
                cwd=str(Path.cwd()),
            )
        )


def name_of(options: LoadOptions) -> str | None:
    """The name of the project that ``options`` select, without loading it."""
    if options.project_name:
        return options.project_name
    sources = find_sources(options, Report())
    if sources is None:
        return options.environment.get("COMPOSE_PROJECT_NAME") or None
    _check_named(sources.files)
    named = sources.environment.get("COMPOSE_PROJECT_NAME") or _written(sources.files, sources.environment)
    return named or normalized_name(Path(sources.working_dir).name) or None


def _check_named(files: Sequence[str]) -> None:
    """A file that is not there names no project: its folder's name would be another one, silently."""
    report = Report()
    for file in files:
        if file != "-" and (fault := _fault(file)):
            report.problem(f"cannot read the file: {fault}", (file, 0, 0), "", fix_for_unreadable(file))
    report.check()


def _fault(file: str) -> str:
    """Why ``file`` is none; empty where it is one, whoever may read it."""
    try:
        found = Path(file).stat()
    except OSError as error:
        return error.strerror or str(error)
    return os.strerror(errno.EISDIR) if stat.S_ISDIR(found.st_mode) else ""


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
