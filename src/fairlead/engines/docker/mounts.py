"""The volumes of a service in the API's words: named, anonymous, bind, tmpfs, image.

Called by `body`. A bind whose source may be created goes through ``Binds``, the only form in which every
daemon creates it, as Compose does; everything else is a typed mount.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.docker_api.units import size_bytes
from fairlead.engines.docker.names import volume_name
from fairlead.errors import StartFailedError
from fairlead.spec.model import Mount
from fairlead.spec.revision import Revision

SUBPATH_API = (1, 45)
IMAGE_MOUNT_API = (1, 48)


def mounts_of(revision: Revision, project: str, api: tuple[int, int]) -> dict[str, Any]:
    """``Binds``, ``Mounts`` and ``Tmpfs`` of a host configuration."""
    binds: list[str] = []
    mounts: list[dict[str, Any]] = []
    tmpfs: dict[str, str] = {}
    for mount in revision.service.volumes:
        if mount.type == "bind" and _may_create(mount):
            binds.append(_bind(mount))
        elif mount.type == "tmpfs" and ":" in mount.target:
            target, _, options = mount.target.partition(":")
            tmpfs[target] = options
        else:
            mounts.append(_mount(mount, revision, project, api))
    for entry in _listed(revision.service.extra.get("tmpfs")):
        target, _, options = str(entry).partition(":")
        tmpfs[target] = options
    return {"Binds": binds, "Mounts": mounts, "Tmpfs": tmpfs}


def named_volumes(revision: Revision) -> tuple[str, ...]:
    """The keys of the named volumes that a replica mounts, sorted."""
    return tuple(
        sorted({mount.source for mount in revision.service.volumes if mount.type == "volume" and mount.source})
    )


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _options(mount: Mount) -> Mapping[str, Any]:
    """The mapping below the mount's own kind (`volume: {nocopy: true}`), wherever the loader has kept it."""
    below = mount.options.get(mount.type)
    return below if isinstance(below, Mapping) else mount.options


def _may_create(mount: Mount) -> bool:
    options = _options(mount)
    plain = not (set(options) - {"create_host_path", "selinux", "propagation"})
    return plain and options.get("create_host_path", True) is not False and ":" not in f"{mount.source}{mount.target}"


def _bind(mount: Mount) -> str:
    options = _options(mount)
    flags = ["ro" if mount.read_only else "rw"]
    flags += [str(options[key]) for key in ("selinux", "propagation") if options.get(key)]
    if mount.consistency:
        flags.append(mount.consistency)
    return f"{mount.source}:{mount.target}:{','.join(flags)}"


def _mount(mount: Mount, revision: Revision, project: str, api: tuple[int, int]) -> dict[str, Any]:
    value: dict[str, Any] = {"Type": mount.type, "Target": mount.target, "ReadOnly": mount.read_only}
    if mount.consistency:
        value["Consistency"] = mount.consistency
    options = _options(mount)
    match mount.type:
        case "volume":
            if mount.source:
                value["Source"] = volume_name(project, mount.source, revision.resources)
            value["VolumeOptions"] = _volume_options(options, api)
        case "bind":
            value["Source"] = mount.source
            value["BindOptions"] = _bind_options(options)
        case "tmpfs":
            value["TmpfsOptions"] = _tmpfs_options(options)
        case "image":
            _need(api, IMAGE_MOUNT_API, "mounting an image")
            value["Source"] = mount.source
            value["ImageOptions"] = {"Subpath": options["subpath"]} if options.get("subpath") else {}
        case _:
            value["Source"] = mount.source
    return value


def _volume_options(options: Mapping[str, Any], api: tuple[int, int]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if options.get("nocopy"):
        value["NoCopy"] = True
    if options.get("labels"):
        value["Labels"] = dict(options["labels"])
    if options.get("subpath"):
        _need(api, SUBPATH_API, "volume.subpath")
        value["Subpath"] = str(options["subpath"])
    return value


def _bind_options(options: Mapping[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if options.get("propagation"):
        value["Propagation"] = options["propagation"]
    match options.get("recursive"):
        case "disabled":
            value["NonRecursive"] = True
        case "writable":
            value["ReadOnlyNonRecursive"] = True
        case "readonly":
            value["ReadOnlyForceRecursive"] = True
        case _:
            pass
    return value


def _tmpfs_options(options: Mapping[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if options.get("size") is not None:
        value["SizeBytes"] = size_bytes(options["size"])
    if options.get("mode") is not None:
        mode = options["mode"]
        value["Mode"] = int(mode, 8) if isinstance(mode, str) else int(mode)
    return value


def _need(api: tuple[int, int], needed: tuple[int, int], what: str) -> None:
    if api < needed:
        raise StartFailedError(
            f"{what} needs version {needed[0]}.{needed[1]} of Docker's API, this daemon has {api[0]}.{api[1]}",
            hint="upgrade the Docker daemon",
        )
