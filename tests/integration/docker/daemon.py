"""A Docker daemon of a test's own, which it may stop and start: its data, its sockets and its networks apart."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker_world import BUSYBOX, need_daemon, need_images

DEADLINE_S = 60.0
DEFAULT_BRIDGE = "docker0"


class PrivateDaemon:
    """``dockerd`` without rules in the machine's firewall; containers and the machine reach each other all the same."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.data = folder / "data"
        self.host = f"unix://{folder}/docker.sock"
        self.bridge = folder.name.replace("_", "x")[:15]
        self._default_bridge = _addresses(DEFAULT_BRIDGE)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    shutil.which("dockerd") or "/usr/sbin/dockerd",
                    "--host", self.host,
                    "--data-root", str(self.data),
                    "--exec-root", str(self.folder / "exec"),
                    "--pidfile", str(self.folder / "pid"),
                    "--bridge", self.bridge,
                    "--iptables=false",
                    "--ip-masq=false",
                    "--default-address-pool", "base=10.213.0.0/16,size=24",
                    *self.options,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + DEADLINE_S
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the private daemon does not answer"
            self._give_back_default_bridge()
            time.sleep(0.1)
        self._give_back_default_bridge()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=DEADLINE_S)
            self._process = None
            self._give_back_default_bridge()

    def _give_back_default_bridge(self) -> None:
        """A second daemon takes the machine's default bridge away; its own daemon goes on with one of the same name."""
        if self._default_bridge and not _addresses(DEFAULT_BRIDGE):
            _ip("link", "add", DEFAULT_BRIDGE, "type", "bridge")
            for address in self._default_bridge:
                _ip("addr", "add", address, "dev", DEFAULT_BRIDGE)
            _ip("link", "set", DEFAULT_BRIDGE, "up")

    def docker(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["docker", "--host", self.host, *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout.strip()

    def load_busybox(self) -> None:
        """The image that the machine's own daemon has."""
        saved = subprocess.run(["docker", "save", BUSYBOX], check=True, capture_output=True, timeout=DEADLINE_S).stdout
        load = ["docker", "--host", self.host, "load"]
        subprocess.run(load, input=saved, check=True, capture_output=True, timeout=DEADLINE_S)

    def _answers(self) -> bool:
        asked = subprocess.run(["docker", "--host", self.host, "version"], capture_output=True, check=False)
        return asked.returncode == 0


@contextlib.contextmanager
def private_daemon(*options: str, disk: str = "") -> Iterator[PrivateDaemon]:
    """``disk``: its data is on one of this size (`128m`), which a test can fill."""
    need_daemon()
    need_images()
    if os.geteuid() != 0:
        pytest.skip("starting a Docker daemon needs root")
    folder = Path(tempfile.mkdtemp(prefix="fld-", dir="/tmp"))
    daemon = PrivateDaemon(folder, *options)
    try:
        if disk:
            daemon.data.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={disk}", "tmpfs", str(daemon.data)]
            subprocess.run(mount, check=True, timeout=DEADLINE_S)
        _ip("link", "add", daemon.bridge, "type", "bridge")
        _ip("addr", "add", "10.213.255.1/24", "dev", daemon.bridge)
        _ip("link", "set", daemon.bridge, "up")
        daemon.start()
        daemon.load_busybox()
        yield daemon
    finally:
        left = daemon.docker("ps", "-aq", check=False).split()
        if left:
            daemon.docker("rm", "-fv", *left, check=False)
        for network in daemon.docker("network", "ls", "-q", "--filter", "type=custom", check=False).split():
            daemon.docker("network", "rm", network, check=False)
        daemon.stop()
        _ip("link", "delete", daemon.bridge)
        _unmount(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _addresses(device: str) -> list[str]:
    """The IPv4 addresses of a network device, empty where there is none of that name."""
    shown = subprocess.run(["ip", "-4", "-o", "addr", "show", device], capture_output=True, text=True, check=False)
    return [line.split()[3] for line in shown.stdout.splitlines()]


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=DEADLINE_S)


def _unmount(folder: Path) -> None:
    """What a daemon that was stopped in the middle leaves mounted below its folder."""
    targets = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for target in sorted((each for each in targets if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", target], check=True, timeout=DEADLINE_S)
