"""Find the projects of a corpus: folders with a default file, and every other file that has services."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.spec.environment import FILE_NAMES, OVERRIDE_NAMES

_SERVICES = re.compile(rb"^(services|include)[ \t]*:", re.MULTILINE)


@dataclass(frozen=True)
class Candidate:
    """One project: the folder to stand in, and the file to name (None: the default ones)."""

    folder: str
    file: str | None

    @property
    def name(self) -> str:
        return str(Path(self.folder, self.file or "(default files)"))


def find_projects(corpus: Path) -> Iterator[Candidate]:
    """Every project below ``corpus``, sorted."""
    for folder, folders, files in os.walk(corpus):
        folders[:] = sorted(name for name in folders if name not in (".git", "node_modules"))
        defaults = [name for name in FILE_NAMES if name in files]
        if defaults:
            yield Candidate(folder, None)
        taken = {*defaults[:1], *OVERRIDE_NAMES}
        for name in sorted(files):
            if name.endswith((".yml", ".yaml")) and name not in taken and _has_services(Path(folder, name)):
                yield Candidate(folder, name)


def _has_services(path: Path) -> bool:
    try:
        return path.stat().st_size < 1_000_000 and bool(_SERVICES.search(path.read_bytes()))
    except OSError:
        return False
