"""The keeper's loop in the test's own process: what lasts a moment elsewhere can be held there."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fairlead.engines.process.keeper import main
from fairlead.engines.process.keeper.main import Keeper

DEADLINE_S = 30.0


def test_a_command_whose_time_is_up_before_it_has_a_session_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine a child may be that late, and until then there is no group of its number to be killed."""
    report, report_end = os.pipe()
    output, output_end = os.pipe()
    os.close(output_end)
    answers: list[dict[str, Any]] = []
    listener, silent = socket.socketpair()
    with listener, silent, subprocess.Popen(["sleep", "1000"]) as late:
        monkeypatch.setattr(main, "launch_command", lambda message: (late.pid, output, report))
        keeper = Keeper(str(tmp_path), listener)
        keeper._linger_s = DEADLINE_S

        def answer(message: dict[str, Any]) -> None:
            answers.append(message)
            keeper._quitting = True

        try:
            keeper._on_run({"timeout_s": 0.0}, answer)
            keeper.serve()
        finally:
            late.kill()
    os.close(report)
    os.close(report_end)
    assert answers == [{"status": -9, "output": b"", "timed_out": True}]
