"""Which files make the project, and which variables they see: the first two phases of loading.

Called by the loader alone. The caller hands over the process environment and the working directory; this module
only adds what files say: ``COMPOSE_FILE`` and its relatives may stand in ``.env``, so the two phases look twice.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from fairlead.spec.report import Report
from fairlead.spec.template import Lookup

FILE_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
MAX_ENV_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What the user asked for; every path is relative to ``cwd``.

    ``environment`` is the process environment, ``stdin`` the text that ``-f -`` stands for.
    ``deferred_variables`` are left in commands for the engine to fill in when a replica starts.
    """

    files: tuple[str, ...] = ()
    project_name: str | None = None
    project_directory: str | None = None
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    environment: Mapping[str, str]
    cwd: str
    stdin: str | None = None
    deferred_variables: frozenset[str] = frozenset()


class Sources(NamedTuple):
    """The files in the order of their merge (absolute, or ``-``), and everything around them."""

    files: tuple[str, ...]
    working_dir: str
    environment: Mapping[str, str]
    profiles: tuple[str, ...]


def find_sources(options: LoadOptions, report: Report) -> Sources | None:
    """The files to load and the variables for them; None when there is no file (the report says so)."""
    environment = dict(options.environment)
    files = _find_files(options, environment, report)
    environment |= _defaults(environment, _dotenv_of(options, environment, files), report, options.cwd)
    files = _find_files(options, environment, report)
    report.check()
    if not files:
        here = _start(options)
        if here.is_dir():
            fix = f"write a {FILE_NAMES[0]}, or name a file with -f FILE"
            report.problem("no Compose file here", (str(here), 0, 0), "", fix)
        else:
            report.problem("there is no such folder", (str(here), 0, 0), "", "check --project-directory")
        return None
    environment |= _defaults(environment, _dotenv_of(options, environment, files), report, options.cwd)
    # without any, the profile "" is enabled: Compose splits the empty text too
    profiles = options.profiles or tuple(name.strip() for name in environment.get("COMPOSE_PROFILES", "").split(","))
    return Sources(files, _working_dir(options, files), environment, profiles)


def read_env_files(
    files: Sequence[str], lookup_first: Mapping[str, str], report: Report, cwd: str = ""
) -> dict[str, str]:
    """The variables of several ``.env`` files, later ones winning; ``lookup_first`` decides what ``$V`` means."""
    found: dict[str, str] = {}
    for name in files:
        found |= read_env_file(str(Path(cwd, name)), ChainMap(dict(lookup_first), found).get, report)
    return found


def read_env_file(path: str, lookup: Lookup, report: Report, *, raw: bool = False) -> dict[str, str]:
    """The variables of one file, nothing substituted when ``raw``; what is wrong with it goes to ``report``."""
    from fairlead.spec.dotenv import DotenvError, parse_dotenv, parse_raw

    try:
        text = _read(path)
    except OSError as error:
        report.problem(f"cannot read the env file: {error.strerror or error}", (path, 0, 0), "", "check the path")
        return {}
    try:
        return parse_raw(text) if raw else parse_dotenv(text, lookup, lambda name: report.warn(unset_warning(name)))
    except DotenvError as error:
        report.problem(error.message, (path, error.line, 1), "", "write one NAME=value a line")
        return {}


def unset_warning(name: str) -> str:
    """The warning that Compose users know."""
    return f'the variable "{name}" is not set and becomes an empty string'


def normalized_name(text: str) -> str:
    """A project name made of ``text``: lower case letters, digits, ``-`` and ``_``, starting with a letter or digit."""
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789_-"
    return "".join(character for character in text.lower() if character in allowed).lstrip("_-")


def _read(path: str) -> str:
    file = Path(path)
    with file.open("rb") as stream:
        data = stream.read(MAX_ENV_BYTES + 1)
    if len(data) > MAX_ENV_BYTES:
        raise OSError(0, f"more than {MAX_ENV_BYTES // 1024 // 1024} MiB")
    return data.decode("utf-8", "replace")


def _defaults(environment: Mapping[str, str], files: Sequence[str], report: Report, cwd: str) -> dict[str, str]:
    found = read_env_files(files, environment, report, cwd)
    return {name: value for name, value in found.items() if name not in environment}


def _dotenv_of(options: LoadOptions, environment: Mapping[str, str], files: Sequence[str]) -> list[str]:
    if options.env_files:
        return list(options.env_files)
    if named := environment.get("COMPOSE_ENV_FILES"):
        return named.split(",")
    if environment.get("COMPOSE_DISABLE_ENV_FILE", "").lower() in ("1", "t", "true"):
        return []
    default = Path(_working_dir(options, files), ".env")
    return [str(default)] if default.is_file() else []


def _working_dir(options: LoadOptions, files: Sequence[str]) -> str:
    if options.project_directory:
        return absolute(options.cwd, options.project_directory)
    named = [file for file in files if file != "-"]
    return str(Path(named[0]).parent) if named else options.cwd


def absolute(base: str, path: str) -> str:
    """``path`` below ``base``, without ``.``, ``..`` and doubled slashes; symbolic links stay."""
    import os.path  # only the functions on strings; the purity rule is about what reaches the system

    joined = os.path.normpath(path if path.startswith("/") else f"{base}/{path}")
    return joined[1:] if joined.startswith("//") else joined


def fix_for_unreadable(file: str) -> str:
    """What to do about a Compose file that cannot be read."""
    if not Path(file).is_dir():
        return "check the path"
    found = next((name for name in FILE_NAMES if Path(file, name).exists()), None)
    return f"it is a folder: name the file in it, {Path(file, found)}" if found else "it is a folder: name a file"


def _start(options: LoadOptions) -> Path:
    """The folder from which a Compose file is looked for upwards."""
    return Path(absolute(options.cwd, options.project_directory) if options.project_directory else options.cwd)


def _find_files(options: LoadOptions, environment: Mapping[str, str], report: Report) -> tuple[str, ...]:
    named = list(options.files)
    if not named and "COMPOSE_FILE" in environment:
        named = environment["COMPOSE_FILE"].split(environment.get("COMPOSE_PATH_SEPARATOR") or ":")
    if named:
        return tuple(file if file == "-" else absolute(options.cwd, file) for file in named)
    start = _start(options)
    for folder in (start, *start.parents):
        found = [str(folder / name) for name in FILE_NAMES if (folder / name).exists()]
        if found:
            overrides = [str(folder / name) for name in OVERRIDE_NAMES if (folder / name).exists()]
            for group in (found, overrides):
                if len(group) > 1:
                    report.warn(f"several files could be meant ({', '.join(group)}); using {group[0]}")
            return (found[0], *overrides[:1])
    return ()
