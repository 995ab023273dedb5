"""The build context as a tar, without what `.dockerignore` keeps at home.

Called by `build`. Written into a spooled file, so that a context of gigabytes does not sit in memory.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fairlead.docker_api.ignore import Pattern, is_ignored, patterns_of
from fairlead.errors import StartFailedError
from fairlead.spec.model import Build

IN_MEMORY_BYTES = 8 * 1024 * 1024
INLINE_NAME = ".fairlead.Dockerfile"


@dataclass(frozen=True, slots=True)
class Context:
    """A packed context; ``dockerfile`` is its Dockerfile's path inside."""

    file: IO[bytes]
    dockerfile: str


def packed(build: Build) -> Context:
    """``build``'s context, ready to be sent. The caller closes the file."""
    root = Path(build.context)
    if not root.is_dir():
        raise StartFailedError(f"the build context {build.context} is no folder")
    dockerfile, outside = _dockerfile(build, root)
    patterns = _patterns(root, build.dockerfile or "Dockerfile")
    keep = {dockerfile, ".dockerignore"}
    file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
    try:
        # BuildKit knows an archive by its first block, which must be a plain header of a short name.
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            content = outside if outside is not None else (root / dockerfile).read_bytes()
            entry = tarfile.TarInfo(dockerfile)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
            for path in _paths(root, patterns, keep - {dockerfile}):
                if path != dockerfile:
                    tar.add(root / path, arcname=path, recursive=False, filter=_owned_by_root)
    except OSError as error:
        file.close()
        raise StartFailedError(f"the build context cannot be read: {error}") from error
    file.seek(0)
    return Context(file, dockerfile)


def _dockerfile(build: Build, root: Path) -> tuple[str, bytes | None]:
    """The Dockerfile's name in the context, and its content where it comes from elsewhere."""
    if build.dockerfile_inline is not None:
        return INLINE_NAME, build.dockerfile_inline.encode()
    path = root / (build.dockerfile or "Dockerfile")
    if not path.is_file():
        raise StartFailedError(f"there is no {path}", hint="set `build.dockerfile`, or make the file")
    resolved = Path(os.path.normpath(path))
    if resolved.is_relative_to(os.path.normpath(root)):
        return resolved.relative_to(os.path.normpath(root)).as_posix(), None
    return INLINE_NAME, path.read_bytes()


def _patterns(root: Path, dockerfile: str) -> tuple[Pattern, ...]:
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        if (root / name).is_file():
            return patterns_of((root / name).read_text(errors="replace"))
    return ()


def _paths(root: Path, patterns: Sequence[Pattern], keep: set[str]) -> Iterator[str]:
    """Every path to send, sorted, folders before what is in them."""
    may_return = any(pattern.keeps for pattern in patterns)
    for folder, folders, files in os.walk(root):
        folders.sort()
        base = Path(folder).relative_to(root)
        for name in sorted((*files, *folders)):
            path = (base / name).as_posix()
            if path in keep or not is_ignored(path, patterns):
                yield path
            elif name in folders and not may_return and not any(each.startswith(f"{path}/") for each in keep):
                folders.remove(name)


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
