"""Which daemon is meant, as the `docker` command would decide."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fairlead.docker_api.endpoint import endpoint_of
from fairlead.errors import EngineError


def context(home: Path, name: str, host: str, *, skip_verify: bool = False, tls: bool = False) -> None:
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = home / ".docker" / "contexts" / "meta" / key
    meta.mkdir(parents=True)
    docker = {"Host": host, "SkipTLSVerify": skip_verify}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": docker}}))
    if tls:
        (home / ".docker" / "contexts" / "tls" / key / "docker").mkdir(parents=True)


def test_docker_host_wins(tmp_path: Path) -> None:
    context(tmp_path, "colima", "unix:///colima.sock")
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": "tcp://box:2375", "DOCKER_CONTEXT": "colima"}
    assert endpoint_of(environ).url == "tcp://box:2375"
    assert endpoint_of(environ).tls is None


def test_a_context_by_name_and_the_current_one(tmp_path: Path) -> None:
    context(tmp_path, "colima", "unix:///colima.sock")
    context(tmp_path, "far", "ssh://me@far", tls=True)
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "far"}')
    environ = {"HOME": str(tmp_path)}
    assert endpoint_of(environ | {"DOCKER_CONTEXT": "colima"}).socket == "/colima.sock"
    current = endpoint_of(environ)
    assert (current.url, current.scheme, current.socket) == ("ssh://me@far", "ssh", None)
    assert current.tls is not None
    assert "far" in current.source


def test_default_is_no_context(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "DOCKER_CONTEXT": "default"}
    assert endpoint_of(environ).scheme == "unix"


def test_tls_by_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "DOCKER_HOST": "tcp://box:2376", "DOCKER_TLS_VERIFY": "1"}
    tls = endpoint_of(environ | {"DOCKER_CERT_PATH": "/certs"}).tls
    assert tls is not None
    assert (tls.folder, tls.verify) == (Path("/certs"), True)


@pytest.mark.parametrize("environ", [{"DOCKER_HOST": "box:2375"}, {"DOCKER_CONTEXT": "nowhere"}])
def test_what_cannot_be_an_address_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(EngineError) as failure:
        endpoint_of({"HOME": str(tmp_path)} | environ)
    assert next(iter(environ)) in failure.value.message
    assert failure.value.hint


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("{")
    with pytest.raises(EngineError, match=r"config\.json"):
        endpoint_of({"HOME": str(tmp_path)})
