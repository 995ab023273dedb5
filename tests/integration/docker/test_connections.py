"""Every way to a daemon that Docker knows, for real: TCP with TLS to a daemon of the test's own, SSH to a real sshd."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docker_world import BUSYBOX
from tests.e2e.sandbox import BIN, Sandbox
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


def certificates(folder: Path) -> None:
    """A certificate authority, the server's certificate for 127.0.0.1 and the client's."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=TIMEOUT_S)

    new = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *new, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=fairlead test authority")
    for name, key, cert, extension in (
        (
            "127.0.0.1",
            "server-key.pem",
            "server-cert.pem",
            "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
        ),
        ("client", "key.pem", "cert.pem", "extendedKeyUsage=clientAuth\n"),
    ):
        (folder / "extensions").write_text(extension)
        openssl("req", *new[:3], "-keyout", key, "-out", "request", "-subj", f"/CN={name}")
        signing = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "extensions"]
        openssl("x509", "-req", "-in", "request", "-out", cert, *signing)


@contextlib.contextmanager
def sshd(folder: Path) -> Iterator[Mapping[str, str]]:
    """A server with keys of its own; the environment with which a command reaches the daemon through it."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if program is None or os.geteuid() != 0:
        assert not os.environ.get("FAIRLEAD_NEED_DOCKER"), "openssh-server is missing"
        pytest.skip("needs openssh-server, and root to run it")
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(key, check=True, timeout=TIMEOUT_S)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known_hosts\n"
    )
    # ssh reads its configuration in the user's real home, which is none of a test's business.
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "sshd.log").open("wb") as log:
        server = subprocess.Popen(
            [program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        yield {
            "DOCKER_HOST": f"ssh://{getpass.getuser()}@127.0.0.1:{port}",
            "PATH": os.pathsep.join([str(folder / "bin"), str(BIN), os.environ["PATH"]]),
        }
    finally:
        server.terminate()
        server.wait(timeout=TIMEOUT_S)
