"""Every way to a daemon that Docker knows, for real: TCP with TLS to a daemon of the test's own, SSH to a real sshd."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docker_world import BUSYBOX
from tests.e2e.sandbox import Sandbox, listening
from tests.integration.docker.credentials import certificates, ssh_client, ssh_keys, sshd_config
from tests.integration.docker.daemon import private_daemon
from tests.integration.docker.live import docker_sandbox, end

pytestmark = [pytest.mark.docker, pytest.mark.slow]

TIMEOUT_S = 60
SCRIPT = "mkdir -p /www; echo over the wire > /www/index.html; exec httpd -f -p 8000 -h /www"


def serves(sandbox: Sandbox, scheme: str) -> None:
    """The doctor is content, a project comes up, answers, tells its logs, runs a command and goes."""
    project, port = f"fl{uuid.uuid4().hex[:10]}", sandbox.port()
    said = sandbox.fairlead("doctor", check=False).stdout
    assert f"{scheme}://" in said, said
    service = {"image": BUSYBOX, "init": True, "command": ["sh", "-c", SCRIPT], "ports": [f"127.0.0.1:{port}:8000"]}
    file = sandbox.write({"web": {**service, "deploy": {"replicas": 2}}})
    sandbox.fairlead("up", "-d", "-f", str(file), "-p", project)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=TIMEOUT_S) as answer:
        assert answer.read() == b"over the wire\n"
    (first, _) = sandbox.replicas(project, state="ready")
    assert sandbox.fairlead("exec", "-p", project, first["id"], "--", "echo", "inside").stdout.strip() == "inside"
    sandbox.fairlead("down", "-p", project)


@pytest.mark.alone
def test_over_tcp_with_tls(tmp_path: Path) -> None:
    certificates(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host = f"tcp://127.0.0.1:{port}"
    options = ["--host", host, "--tlsverify", f"--tlscacert={tmp_path}/ca.pem"]
    options += [f"--tlscert={tmp_path}/server-cert.pem", f"--tlskey={tmp_path}/server-key.pem"]
    with private_daemon(*options):
        tls = {"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)}
        with Sandbox(environment={"FAIRLEAD_ENGINE": "docker", **tls}) as sandbox:
            serves(sandbox, "tcp")
            end(sandbox)
        (tmp_path / "cert.pem").unlink()
        with Sandbox(environment={"FAIRLEAD_ENGINE": "docker", **tls}) as stranger:
            done = stranger.fairlead("doctor", check=False)
            assert done.returncode != 0
            assert "certificate" in (done.stdout + done.stderr).lower()


def test_over_ssh(tmp_path: Path) -> None:
    with sshd(tmp_path) as environment, docker_sandbox() as sandbox:
        sandbox.environment.update(environment)
        serves(sandbox, "ssh")
        end(sandbox)


def test_a_host_that_does_not_let_us_in_is_told_in_the_words_of_ssh(tmp_path: Path) -> None:
    with sshd(tmp_path) as environment, docker_sandbox() as sandbox:
        (tmp_path / "authorized_keys").write_text("")
        sandbox.environment.update(environment)
        done = sandbox.fairlead("doctor", check=False)
        assert done.returncode != 0
        assert "Permission denied" in done.stdout + done.stderr
        del sandbox.environment["DOCKER_HOST"]


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[Mapping[str, str]]:
    """A server with keys of its own; the environment with which a command reaches the daemon through it."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if program is None or os.geteuid() != 0:
        assert not os.environ.get("FAIRLEAD_NEED_DOCKER"), "openssh-server is missing"
        pytest.skip("needs openssh-server, and root to run it")
    ssh_keys(folder)
    with socket.socket() as kept:
        # Bound and not listening, with SO_REUSEADDR on both sides: the server may have the port, nobody else may.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield from _served(program, folder, kept.getsockname()[1])


def _served(program: str, folder: Path, port: int) -> Iterator[Mapping[str, str]]:
    (folder / "sshd_config").write_text(sshd_config(folder, "127.0.0.1", port))
    environment = ssh_client(folder, "127.0.0.1", port)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(
            [program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not listening(port):
            assert server.poll() is None, (folder / "sshd.log").read_text()
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.05)
        yield environment
    finally:
        server.terminate()
        server.wait(timeout=TIMEOUT_S)
