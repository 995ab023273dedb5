"""What lets a client in at a daemon: certificates for TLS, keys and configurations for SSH. All made for one test."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path

from tests.e2e.sandbox import BIN

TIMEOUT_S = 60


def certificates(folder: Path, address: str = "127.0.0.1") -> None:
    """A certificate authority, the server's certificate for ``address`` and the client's."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=TIMEOUT_S)

    new = ["-newkey", "rsa:2048", "-nodes", "-days", "2"]
    openssl("req", "-x509", *new, "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=fairlead test authority")
    for name, key, cert, extension in (
        (
            address,
            "server-key.pem",
            "server-cert.pem",
            f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n",
        ),
        ("client", "key.pem", "cert.pem", "extendedKeyUsage=clientAuth\n"),
    ):
        (folder / "extensions").write_text(extension)
        openssl("req", *new[:3], "-keyout", key, "-out", "request", "-subj", f"/CN={name}")
        signing = ["-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-extfile", "extensions"]
        openssl("x509", "-req", "-in", "request", "-out", cert, *signing)


def ssh_keys(folder: Path) -> None:
    """The server's and the user's, and the user's in `authorized_keys`."""
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(key, check=True, timeout=TIMEOUT_S)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")


def sshd_config(folder: Path, address: str, port: int) -> str:
    """``folder`` as the server sees it."""
    return (
        f"ListenAddress {address}:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )


def ssh_client(folder: Path, address: str, port: int) -> dict[str, str]:
    """The environment with which a command reaches the daemon of that server."""
    (folder / "known_hosts").write_text(f"[{address}]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known_hosts\n"
    )
    # ssh reads its configuration in the user's real home, which is none of a test's business.
    (folder / "bin").mkdir()
    (folder / "bin" / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/ssh_config "$@"\n')
    (folder / "bin" / "ssh").chmod(0o755)
    return {
        "DOCKER_HOST": f"ssh://{getpass.getuser()}@{address}:{port}",
        "PATH": os.pathsep.join([str(folder / "bin"), str(BIN), os.environ["PATH"]]),
    }
