"""``python -m fairlead``: how `cli.spawn` starts the controller with the interpreter that runs the command."""

from fairlead.cli.main import run

if __name__ == "__main__":
    run()
