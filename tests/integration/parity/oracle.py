"""Where Docker Compose's own binary is. Used by the comparison and by the fuzzing."""

from __future__ import annotations

import shutil
from pathlib import Path

PLUGIN_FOLDERS = (
    "~/.docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


def find_oracle() -> str | None:
    """``docker-compose`` on PATH, else the plugin where the `docker` command would look for it."""
    plugins = (Path(folder).expanduser() / "docker-compose" for folder in PLUGIN_FOLDERS)
    return shutil.which("docker-compose") or next((str(path) for path in plugins if path.is_file()), None)
