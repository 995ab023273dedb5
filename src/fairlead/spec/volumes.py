"""The short form of a mount: ``source:target:options``, Windows paths included.

Called by the merge (for the identity of an entry) and by the canonical form.
"""

from __future__ import annotations

import posixpath
from typing import Any

PROPAGATIONS = frozenset(("rprivate", "private", "rshared", "shared", "rslave", "slave"))


class VolumeError(ValueError):
    """The text is no mount."""


def parse_volume(text: str) -> dict[str, Any]:
    """The long form of ``text``: type, source, target, read_only, bind, volume."""
    if not text:
        raise VolumeError("a mount is empty")
    if len(text) <= 2:
        return {"type": "volume", "target": text}
    parts = _split(text)
    if any(not part for part in parts):
        raise VolumeError(f"{text!r} has nothing between two colons")
    if len(parts) > 3:
        raise VolumeError(f"{text!r} has too many colons")
    mount: dict[str, Any] = {"type": "volume"}
    if len(parts) == 1:
        mount["target"] = parts[0]
    else:
        mount["source"], mount["target"] = parts[0], parts[1]
    options = parts[2].split(",") if len(parts) == 3 else []
    if "ro" in options and "rw" not in options[options.index("ro") :]:
        mount["read_only"] = True
    bind = _bind_options(options)
    if is_path(mount.get("source", "")):
        mount["type"] = "bind"
        bind["create_host_path"] = True
    else:
        mount["volume"] = {}
    if bind:
        mount["bind"] = bind
    if "nocopy" in options:
        mount["volume"] = {"nocopy": True}
    mount["target"] = clean(mount["target"])
    return mount


def _bind_options(options: list[str]) -> dict[str, Any]:
    bind: dict[str, Any] = {}
    for option in options:
        if option in PROPAGATIONS:
            bind["propagation"] = option
        elif option in ("z", "Z"):
            bind["selinux"] = option
    return bind


def _split(text: str) -> list[str]:
    """At colons, except the one of a drive letter."""
    parts, part = [], ""
    for character in text:
        if character == ":" and not (len(part) == 1 and part.isalpha()):
            parts.append(part)
            part = ""
        else:
            part += character
    return [*parts, part]


def is_path(source: str) -> bool:
    """Whether the source of a mount is a path of the host, not the name of a volume."""
    if not source:
        return False
    return source[0] in "./~" or source.startswith("\\\\") or (source[1:2] == ":" and source[0].isalpha())


def is_windows_absolute(path: str) -> bool:
    r"""``C:\data``, ``c:/data`` or ``\\server\share\…``."""
    if len(path) > 2 and path[1] == ":" and path[0].isascii() and path[0].isalpha():
        return path[2] in "\\/"
    if len(path) < 5 or path[0] not in "\\/" or path[1] not in "\\/" or path[2] in "\\/.":
        return False
    server, separator, rest = path[2:].replace("\\", "/").partition("/")
    share, rest_separator, _ = rest.partition("/")
    return bool(server and separator and share and not share.startswith(".") and rest_separator)


def clean(path: str) -> str:
    """The path without doubled slashes, ``.`` and ``..``."""
    if not path:
        return "."
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned
