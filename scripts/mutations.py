"""Plant known mistakes in the core, one at a time, and show that the simulation finds each of them.

    python scripts/mutations.py [--seeds 2000] [--jobs 2] [--only WORDS] [--write]

Each mistake (`mistakes.py` has them) is a change of a few words in a copy of the sources under a temporary folder;
the simulation runs on the copy until a seed fails. The result is a table: the mistake, the seed that found it, how many
seeds that took, and the promise that was seen broken. `--write` puts it into docs/reliability.md. Ends with status 1
when a mistake is not found or cannot be planted any more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mistakes import GUARD, MISTAKES, Mistake

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- mutations: begin -->\n", "<!-- mutations: end -->\n"
TIMEOUT_S = 1800
_FOUND = re.compile(r"^seed (\d+): (.*)$", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000, help="the most seeds for one mistake")
    parser.add_argument("--jobs", type=int, default=1, help="mistakes tried at a time")
    parser.add_argument("--only", default="", help="mistakes whose name contains these words")
    parser.add_argument("--write", action="store_true", help="put the table into docs/reliability.md")
    options = parser.parse_args()
    chosen = [mistake for mistake in MISTAKES if options.only in mistake.name]
    table = ["| the mistake | in | seeds until found | what was seen |", "| --- | --- | ---: | --- |"]
    say("\n".join(table))
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        results = pool.map(lambda mistake: attempt(mistake, options.seeds), chosen)
        for mistake, (seed, seen) in zip(chosen, results, strict=True):
            missed += seed is None
            count = f"not in {options.seeds}" if seed is None else str(seed + 1)
            table.append(f"| {mistake.name} | `{mistake.file}` | {count} | {seen} |")
            say(table[-1])
    summary = f"{len(chosen) - missed} of {len(chosen)} mistakes found"
    say(f"\n{summary}")
    if options.write:
        _write(f"{summary}, in the code of commit `{_commit()}`; seeds count from 0.\n\n" + "\n".join(table) + "\n")
    return 1 if missed else 0


def _commit() -> str:
    argv = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _write(text: str) -> None:
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def say(line: str) -> None:
    """Each line at once: a run takes minutes."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def attempt(mistake: Mistake, seeds: int) -> tuple[int | None, str]:
    """The first seed that finds ``mistake``, and what it saw."""
    with tempfile.TemporaryDirectory(prefix="fairlead-mutation-") as folder:
        copy = Path(folder)
        for part in ("src", "tests/simulation"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "tests/__init__.py").touch()
        path = copy / "src/fairlead" / mistake.file
        text = path.read_text()
        if text.count(mistake.old) != 1:
            return None, f"cannot be planted: its place stands {text.count(mistake.old)} times in {mistake.file}"
        path.write_text(text.replace(mistake.old, mistake.new))
        if mistake.unguarded:
            guarded = copy / "src/fairlead" / GUARD[0]
            guarded.write_text(guarded.read_text().replace(GUARD[1], GUARD[2]))
        argv = [sys.executable, "-m", "tests.simulation", "--seeds", str(seeds), "--fail-fast", "--jobs", "1"]
        environment = os.environ | {"PYTHONPATH": f"{copy / 'src'}{os.pathsep}{copy}", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(argv, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    found = _FOUND.search(done.stdout)
    if found is None:
        return None, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "every promise kept"
    argv = [sys.executable, "-m", "tests.simulation", "--seeds", "1", "--start", found[1]]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    if subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, timeout=TIMEOUT_S).returncode:
        return None, f"seed {found[1]} breaks a promise without the mistake too"
    return int(found[1]), found[2].split(":")[0]


if __name__ == "__main__":
    sys.exit(main())
