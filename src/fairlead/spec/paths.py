"""Make the paths of one file's model absolute, below the folder that this file counts from.

Called by the loader for the merged model, and for each file that `extends` and `include` bring in before it is merged,
because each counts its paths from a folder of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

from fairlead.spec.environment import absolute
from fairlead.spec.report import Report
from fairlead.spec.tree import Map, Seq, Timestamp
from fairlead.spec.volumes import is_windows_absolute

_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")


class Paths:
    """``home`` is the user's home folder, or None."""

    def __init__(self, base: str, home: str | None, report: Report) -> None:
        self._base, self._home, self._report = base, home, report

    def resolve(self, model: Map) -> None:
        for name, service in _maps(model.get("services")):
            self._service(service, name)
        for kind in ("configs", "secrets"):
            for _, entry in _maps(model.get(kind)):
                _change(entry, "file", self.host)
        for _, volume in _maps(model.get("volumes")):
            options = volume.get("driver_opts")
            if volume.get("driver") == "local" and isinstance(options, Map) and options.get("o") == "bind":
                _change(options, "device", self.host)

    def _service(self, service: Map, name: str) -> None:
        build = service.get("build")
        if isinstance(build, Map):
            _change(build, "context", self.context)
            _change_all(build.get("additional_contexts"), self.context)
            _change_all(build.get("ssh"), self.host)
        for entry in _list(service.get("env_file")):
            if isinstance(entry, Map):
                _change(entry, "path", self.local)
        files = service.get("label_file")
        if isinstance(files, Seq):
            files[:] = [self.local(file) if isinstance(file, str) else file for file in files]
        if isinstance(service.get("extends"), Map):
            _change(service["extends"], "file", self.local)
        develop = service.get("develop")
        for trigger in _list(develop.get("watch") if isinstance(develop, Map) else None):
            if isinstance(trigger, Map):
                _change(trigger, "path", self._watched)
        self._mounts(service, name)

    def _mounts(self, service: Map, name: str) -> None:
        for index, mount in enumerate(_list(service.get("volumes"))):
            if not isinstance(mount, Map) or mount.get("type") != "bind":
                continue
            if "source" not in mount:
                self._report.problem(
                    "a bind mount needs a source", mount.at, ("services", name, "volumes", f"[{index}]"), "add 'source'"
                )
            else:
                _change(mount, "source", self.host)

    def local(self, path: str) -> str:
        """A path of this machine."""
        path = self._expanded(path)
        return path if path.startswith("/") or not path else absolute(self._base, path)

    def host(self, path: str) -> str:
        """A path of the machine where containers run: a Windows path stays as it is."""
        path = self._expanded(path)
        return path if path.startswith("/") or is_windows_absolute(path) else absolute(self._base, path)

    def context(self, path: str) -> str:
        """A build context: a folder, a URL, or ``service:name``."""
        remote = "://" in path or path.startswith(("service:", *_REMOTE))
        return path if remote else self.local(path)

    def _watched(self, path: str) -> str:
        """A watched path, its first symbolic link resolved, because file events name the real path."""
        path = self.local(path)
        parts = FilePath(path).parts
        for count in range(2, len(parts) + 1):
            prefix = FilePath(*parts[:count])
            try:
                if prefix.is_symlink():
                    return path.replace(str(prefix), str(prefix.resolve(strict=True)), 1)
            except (OSError, RuntimeError):
                return path
        return path

    def _expanded(self, path: str) -> str:
        if not path.startswith("~"):
            return path
        if not self._home:
            self._report.warn(f"cannot expand {path!r}: the variable HOME is not set")
            return path
        return absolute(self._home, path[1:].lstrip("/"))


def _maps(value: Any) -> list[tuple[str, Map]]:
    return [(name, entry) for name, entry in value.items() if isinstance(entry, Map)] if isinstance(value, Map) else []


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, Seq) else []


def _change(node: Map, key: str, change: Callable[[str], str]) -> None:
    if isinstance(node.get(key), str) and not isinstance(node[key], Timestamp):
        node[key] = change(node[key])


def _change_all(node: Any, change: Callable[[str], str]) -> None:
    if isinstance(node, Map):
        for key in node:
            _change(node, key, change)
