"""Another machine, as far as a controller can tell: a host name, a network, processes and a file system of its own.

Its daemon is reached over TCP with TLS, and over SSH. Addresses of its containers lead nowhere from here, and nothing
that is written under `/tmp` here is there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docker_world import need_daemon, need_images
from tests.integration.docker.credentials import certificates, ssh_client, ssh_keys, sshd_config

DEADLINE_S = 60.0
HOST_NAME = "fl-elsewhere"
SSH_PORT = 2222

_LIFE = """
set -e
hostname "$NAME"
ip link set lo up
until ip link show inside >/dev/null 2>&1; do sleep 0.05; done
ip addr add "$ADDRESS/30" dev inside
ip link set inside up
mount --make-rprivate /
mount --bind "$FOLDER" /mnt
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -m 755 /run/sshd
/usr/sbin/sshd -f /mnt/sshd_config -E /mnt/sshd.log
exec dockerd --host "tcp://$ADDRESS:2376" --host unix:///run/docker.sock --tlsverify \
    --tlscacert=/mnt/ca.pem --tlscert=/mnt/server-cert.pem --tlskey=/mnt/server-key.pem \
    --data-root /mnt/data --exec-root /mnt/exec --pidfile /mnt/pid --iptables=false --ip-masq=false \
    --bip 10.215.255.1/24 --default-address-pool base=10.215.0.0/16,size=24
"""


@dataclass(frozen=True)
class OtherMachine:
    """``address``: where its published ports are reached from here. ``tls``, ``ssh``: what names its daemon."""

    address: str
    tls: dict[str, str]
    ssh: dict[str, str]

    def docker(self, *arguments: str, check: bool = True, given: bytes | None = None) -> str:
        done = subprocess.run(
            ["docker", *arguments],
            env=os.environ | self.tls,
            input=given,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stderr.decode()}"
        return done.stdout.decode().strip()

    def load(self, image: str) -> None:
        """An image that the machine's own daemon has."""
        saved = subprocess.run(["docker", "save", image], check=True, capture_output=True, timeout=DEADLINE_S).stdout
        self.docker("load", given=saved)


@contextlib.contextmanager
def other_machine(*images: str) -> Iterator[OtherMachine]:
    """``images``: what its daemon has."""
    need_daemon()
    need_images()
    if os.geteuid() != 0 or shutil.which("unshare") is None or not Path("/usr/sbin/sshd").exists():
        assert not os.environ.get("FAIRLEAD_NEED_DOCKER"), "another machine needs root, `unshare` and openssh-server"
        pytest.skip("needs root, `unshare` and openssh-server")
    folder = Path(tempfile.mkdtemp(prefix="flm-", dir="/tmp"))
    # A network of four addresses, chosen by the process: tests in parallel have machines of their own.
    block = os.getpid() % 16_000 * 4
    near, far = (f"10.214.{(block + i) // 256}.{(block + i) % 256}" for i in (1, 2))
    certificates(folder, far)
    cable = f"fl{os.getpid()}"
    tls = {"DOCKER_HOST": f"tcp://{far}:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)}
    ssh_keys(folder)
    (folder / "sshd_config").write_text(sshd_config(Path("/mnt"), far, SSH_PORT))
    machine = OtherMachine(far, tls, ssh_client(folder, far, SSH_PORT))
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    settings = {"NAME": HOST_NAME, "ADDRESS": far, "FOLDER": str(folder), "PATH": path}
    with (folder / "log").open("wb") as log:
        apart = ["unshare", "--net", "--uts", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"]
        life = subprocess.Popen([*apart, "sh", "-c", _LIFE], env=os.environ | settings, stdout=log, stderr=log)
    try:
        _until(lambda: os.readlink(f"/proc/{life.pid}/ns/net") != os.readlink("/proc/self/ns/net"), life, folder)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "inside", "netns", str(life.pid))
        _ip("addr", "add", f"{near}/30", "dev", cable)
        _ip("link", "set", cable, "up")
        _until(lambda: "Server Version" in machine.docker("info", check=False), life, folder)
        for image in images:
            machine.load(image)
        yield machine
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired, AssertionError):
            if left := machine.docker("ps", "-aq", check=False).split():
                machine.docker("rm", "-fv", *left, check=False)
        # With its first process everything over there ends, mounts too. `unshare` hears no politer signal.
        life.kill()
        life.wait(timeout=DEADLINE_S)
        subprocess.run(["ip", "link", "delete", cable], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _until(true: Callable[[], bool], life: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert life.poll() is None, (folder / "log").read_text()[-2000:]
        assert time.monotonic() < deadline, (folder / "log").read_text()[-2000:]
        time.sleep(0.05)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=DEADLINE_S)
