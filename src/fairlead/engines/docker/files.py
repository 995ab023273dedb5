"""Secrets and configs as files inside a replica, with their owner and mode.

Called by `start`, between creating and starting a container: the files are copied through the API, so they reach
a remote daemon just as well, and they are the container's own: nothing on the host to clean up.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fairlead.errors import StartFailedError
from fairlead.spec.model import FileReference
from fairlead.spec.revision import Revision

DEFAULT_MODE = 0o444
FOLDERS = {"secrets": "/run/secrets", "configs": "/"}


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFile:
    path: PurePosixPath
    content: bytes
    mode: int
    uid: int
    gid: int


def injected_files(revision: Revision, environ: Mapping[str, str]) -> tuple[InjectedFile, ...]:
    """Every secret and config that a replica of ``revision`` finds as a file."""
    return tuple(_files(revision, environ))


def path_of(kind: str, reference: FileReference) -> PurePosixPath:
    """Where a replica finds what ``reference`` names. ``kind`` is `secrets` or `configs`."""
    return PurePosixPath(FOLDERS[kind]) / (reference.target or reference.source)


def folders_of(files: tuple[InjectedFile, ...]) -> tuple[str, ...]:
    return tuple(sorted({str(file.path.parent) for file in files}))


def archive_of(files: tuple[InjectedFile, ...], folder: str, prefix: str = "") -> bytes:
    """A tar of the files that belong directly into ``folder``, their names below ``prefix``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for file in files:
            if str(file.path.parent) == folder:
                entry = tarfile.TarInfo(str(PurePosixPath(prefix) / file.path.name))
                entry.size, entry.mode, entry.uid, entry.gid = len(file.content), file.mode, file.uid, file.gid
                tar.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()


def content_of(
    kind: str, name: str, definition: Mapping[str, Any] | None, base: str, environ: Mapping[str, str]
) -> bytes:
    """The bytes of one secret or config. ``kind`` is `secret` or `config`, ``base`` the project's folder."""
    if definition is None:
        raise StartFailedError(f"the {kind} {name!r} is not defined at the top of the file")
    if definition.get("content") is not None:
        return str(definition["content"]).encode()
    if variable := definition.get("environment"):
        if str(variable) not in environ:
            raise StartFailedError(f"the {kind} {name!r} comes from ${variable}, which is not set")
        return environ[str(variable)].encode()
    if path := definition.get("file"):
        try:
            return (Path(base) / str(path)).read_bytes()
        except OSError as error:
            raise StartFailedError(f"the {kind} {name!r} cannot be read from {path}: {error.strerror}") from error
    raise StartFailedError(
        f"the {kind} {name!r} is external, and a single Docker host keeps no {kind}s",
        hint=f"give the {kind} a `file` or `environment`",
    )


def _files(revision: Revision, environ: Mapping[str, str]) -> Iterator[InjectedFile]:
    for kind, references in (("secrets", revision.service.secrets), ("configs", revision.service.configs)):
        for reference in references:
            definition = revision.resources.get(kind, {}).get(reference.source)
            content = content_of(kind.removesuffix("s"), reference.source, definition, revision.working_dir, environ)
            yield _file(kind, reference, content)


def _file(kind: str, reference: FileReference, content: bytes) -> InjectedFile:
    return InjectedFile(
        path=path_of(kind, reference),
        content=content,
        mode=DEFAULT_MODE if reference.mode is None else reference.mode,
        uid=_number(reference.uid),
        gid=_number(reference.gid),
    )


def _number(value: str | None) -> int:
    if value in (None, ""):
        return 0
    if str(value).isdigit():
        return int(str(value))
    raise StartFailedError(f"the owner {value!r} of a secret or config is no number", hint="write a numeric uid or gid")
