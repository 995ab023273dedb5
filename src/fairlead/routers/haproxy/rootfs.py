"""An image with nothing but this machine's HAProxy in it: the binary, its libraries, and a place for them.

Called by `container` where no image is configured and none needs to be pulled: a daemon on this machine gets the same
HAProxy that runs here, in a few megabytes and without a registry.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

from fairlead.errors import RouterError

LDD_TIMEOUT_S = 10.0
_LIBRARY = re.compile(r"(?:=>\s+)?(/\S+)\s+\(0x[0-9a-f]+\)")
# `cap_net_bind_service` in the file's permitted and effective sets, as the kernel stores it (version 2): ports
# below 1024 without being root inside.
_MAY_BIND_LOW_PORTS = bytes.fromhex("0100000200040000000000000000000000000000")


async def libraries_of(binary: str) -> tuple[str, ...]:
    """The shared libraries that ``binary`` loads, the loader included, sorted."""
    process = await asyncio.create_subprocess_exec(
        "ldd", binary, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(LDD_TIMEOUT_S):
            output, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise RouterError(f"cannot tell which libraries {binary} needs") from error
    found = set(_LIBRARY.findall(output.decode(errors="replace")))
    return tuple(sorted({*found, *_loaded_on_demand(found)}))


def _loaded_on_demand(libraries: set[str]) -> set[str]:
    """The C library opens this one when a thread ends, and ends the process where it is missing."""
    beside = {Path(path).with_name("libgcc_s.so.1") for path in libraries if Path(path).name.startswith("libc.so")}
    return {str(path) for path in beside if path.exists()}


def fingerprint(binary: str, libraries: Sequence[str]) -> str:
    """Names the content: another HAProxy, or an upgraded library, is another image."""
    digest = hashlib.sha256(_MAY_BIND_LOW_PORTS)
    for path in (binary, *libraries):
        digest.update(path.encode())
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:12]


def archive(binary: str, libraries: Sequence[str]) -> bytes:
    """The file system as a tar: every file under the path that it has here, so that every search path holds."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder in ("tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/:/\nnobody:x:65534:65534:nobody:/:/\n", mode=0o644)
        _add(tar, "etc/group", b"root:x:0:\nnogroup:x:65534:\n", mode=0o644)
        for path in libraries:
            _add(tar, path.lstrip("/"), Path(path).read_bytes(), mode=0o755)
        _add(tar, binary.lstrip("/"), Path(binary).read_bytes(), mode=0o755, capability=_MAY_BIND_LOW_PORTS)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int, capability: bytes | None = None) -> None:
    entry = tarfile.TarInfo(os.path.normpath(name))
    entry.size, entry.mode = len(content), mode
    if capability is not None:
        value = capability.decode("utf-8", "surrogateescape")
        entry.pax_headers = {"SCHILY.xattr.security.capability": value}
    tar.addfile(entry, io.BytesIO(content))
