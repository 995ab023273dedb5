"""Which Docker daemon is meant, and how to reach it, as the `docker` command would decide.

Called by `client` and by `doctor`. Order: `DOCKER_HOST`, `DOCKER_CONTEXT`, the current context of Docker's
configuration, the default sockets.
"""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.errors import EngineError

SCHEMES = ("unix", "tcp", "http", "https", "ssh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Where the client's certificates are; ``verify`` False accepts any server."""

    folder: Path
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        made = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        try:
            if (self.folder / "ca.pem").exists():
                made.load_verify_locations(cafile=self.folder / "ca.pem")
            if (self.folder / "cert.pem").exists():
                made.load_cert_chain(self.folder / "cert.pem", self.folder / "key.pem")
        except (OSError, ssl.SSLError) as error:
            raise EngineError(
                f"the certificates in {self.folder} cannot be used: {error}",
                hint="check DOCKER_CERT_PATH, or make the Docker context again",
            ) from error
        if not self.verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """``url``: ``unix:///…``, ``tcp://…`` or ``ssh://…``. ``source``: what named it, in words."""

    url: str
    source: str
    tls: Tls | None = None

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def socket(self) -> str | None:
        """The path of the daemon's socket, None where it is reached otherwise."""
        return self.url.removeprefix("unix://") if self.scheme == "unix" else None


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where Docker's own configuration is: `DOCKER_CONFIG`, else `~/.docker`."""
    if folder := environ.get("DOCKER_CONFIG"):
        return Path(folder)
    return Path(environ.get("HOME") or str(Path.home())) / ".docker"


def docker_config(environ: Mapping[str, str]) -> dict[str, Any]:
    """Docker's `config.json`; empty where there is none."""
    path = config_folder(environ) / "config.json"
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read: {error}", hint="repair or remove the file") from error
    return value if isinstance(value, dict) else {}


def endpoint_of(environ: Mapping[str, str]) -> Endpoint:
    """The daemon that ``environ`` and Docker's configuration point to."""
    if host := environ.get("DOCKER_HOST"):
        return Endpoint(url=_checked(host, "DOCKER_HOST"), source="DOCKER_HOST", tls=_tls_of(environ, host))
    if (context := environ.get("DOCKER_CONTEXT")) and context != "default":
        return _context(context, config_folder(environ), "DOCKER_CONTEXT")
    current = docker_config(environ).get("currentContext")
    if isinstance(current, str) and current not in ("", "default"):
        return _context(current, config_folder(environ), "the current Docker context")
    return Endpoint(url=f"unix://{_default_socket(environ)}", source="the default socket")


def _checked(url: str, source: str) -> str:
    if url.partition("://")[0] not in SCHEMES or "://" not in url:
        raise EngineError(
            f"{source} names {url!r}, which is no address of a Docker daemon",
            hint="write unix:///path, tcp://host:port or ssh://user@host",
        )
    return url


def _tls_of(environ: Mapping[str, str], host: str) -> Tls | None:
    wanted = environ.get("DOCKER_TLS_VERIFY")
    if not host.startswith(("tcp://", "https://")) or not (wanted or environ.get("DOCKER_TLS")):
        return None
    folder = environ.get("DOCKER_CERT_PATH") or str(config_folder(environ))
    return Tls(folder=Path(folder), verify=bool(wanted))


def _default_socket(environ: Mapping[str, str]) -> str:
    rootless = Path(environ.get("XDG_RUNTIME_DIR") or "/nonexistent") / "docker.sock"
    home = Path(environ.get("HOME") or str(Path.home())) / ".docker" / "run" / "docker.sock"
    for candidate in (Path("/var/run/docker.sock"), rootless, home):
        if candidate.is_socket():
            return str(candidate)
    return "/var/run/docker.sock"


def _context(name: str, folder: Path, source: str) -> Endpoint:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = folder / "contexts" / "meta" / key / "meta.json"
    try:
        docker = json.loads(meta.read_bytes())["Endpoints"]["docker"]
        url = str(docker["Host"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"{source} is {name!r}, and its definition cannot be read: {error}",
            hint="see `docker context ls`; choose one with `docker context use NAME`",
        ) from error
    certificates = folder / "contexts" / "tls" / key / "docker"
    skip = bool(docker.get("SkipTLSVerify"))
    tls = Tls(folder=certificates, verify=not skip) if certificates.is_dir() or skip else None
    return Endpoint(url=_checked(url, f"the context {name!r}"), source=f"the Docker context {name!r}", tls=tls)
