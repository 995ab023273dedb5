"""One controller a home, whatever becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairlead.controller.lock import held_lock
from fairlead.errors import ControllerError

from .house import DEADLINE_S

HOLDER = """
import sys
from pathlib import Path
from fairlead.controller.lock import held_lock
with held_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "controller.lock"
    says = rf"already runs in .* \(pid {os.getpid()}\)"
    with held_lock(path), pytest.raises(ControllerError, match=says), held_lock(path):
        raise AssertionError("two controllers in one home")


def test_it_is_free_again_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "controller.lock"
    with pytest.raises(ZeroDivisionError), held_lock(path):
        raise ZeroDivisionError
    with held_lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_what_an_earlier_holder_wrote_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "controller.lock"
    path.write_text("1234567890123\n")
    with held_lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    with held_lock(tmp_path / "controller.lock"):
        assert (tmp_path / "controller.lock").stat().st_mode & 0o777 == 0o600


def test_it_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "controller.lock"
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(ControllerError, match=f"pid {holder.pid}"), held_lock(path):
                raise AssertionError("two controllers in one home")
        finally:
            holder.kill()
        holder.wait(DEADLINE_S)
    with held_lock(path):
        assert path.read_text() == f"{os.getpid()}\n"
