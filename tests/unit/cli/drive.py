"""`fairlead` whose controllers, started on demand, follow the script named by the environment."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "api"))

from tied import end_with

from fairlead.cli import spawn
from fairlead.cli.main import run

# Whoever runs the tests in the background may have had it ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

SCRIPTED = Path(__file__).parents[1] / "api" / "scripted.py"


def controller_command() -> list[str]:
    if os.environ["SCRIPT"] == "BROKEN":
        return [sys.executable, "-c", "import sys; sys.exit('no space left on device')"]
    return [
        sys.executable,
        str(SCRIPTED),
        os.environ["FAIRLEAD_HOME"],
        os.environ["SCRIPT"],
        os.environ["INTERVAL_S"],
        os.environ["TESTS_PID"],
    ]


spawn.controller_command = controller_command

if __name__ == "__main__":
    end_with(int(os.environ["TESTS_PID"]))
    run()
