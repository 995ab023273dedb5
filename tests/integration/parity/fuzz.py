"""Change real Compose files at random, and generate files from the table of keys; compare both sides on each.

``python -m tests.integration.parity.fuzz CORPUS --count 500 --seed 1 --mode MODE``. A seed replays. Prints one
example of each kind of difference, and keeps its file in the folder given with ``--keep``.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fairlead.spec.environment import FILE_NAMES
from fairlead.spec.rules import words
from tests.integration.parity.compare import SAME, judge
from tests.integration.parity.generate import GENERATORS, ODD, generate
from tests.integration.parity.oracle import find_oracle
from tests.integration.parity.projects import Candidate, find_projects
from tests.integration.parity.sides import run_fairlead, run_oracle

SCALARS = (
    *ODD,
    *words(
        "on off True TRUE Null -9223372036854775809 1:30:00 2001-12-14t21:59:43.10-05:00 .nan {} [a] {a:b} ${X:?e} ${"
    ),
    *words("a:b:c 80:80 80-82:80-82 10s 1m30s 64m 2GiB all host service:a /abs ../y C:\\x - *x &x |"),
    *("!!str 5", '!!int "5"', "!foo 5", "!reset null", "!override []", '"a # b"', "'it''s'", '"${X-a b}"', "{a: 1}"),
)
Mutation = Callable[[bytes, random.Random], bytes]


def mutate_bytes(text: bytes, dice: random.Random) -> bytes:
    """A few bytes or lines removed, doubled, moved or replaced."""
    data = bytearray(text)
    for _ in range(dice.randint(1, 2)):
        if not data:
            break
        at = dice.randrange(len(data))
        choice = dice.randrange(6)
        if choice == 0:
            data[at] = dice.randrange(256) if dice.random() < 0.3 else dice.choice(b" \t\n:-#{}[]\"'$&*!|>%@`,?<~")
        elif choice == 1:
            del data[at : at + dice.randint(1, 5)]
        elif choice == 2:
            data[at:at] = bytes([dice.choice(b" \t\n:-#{}[]\"'$&*!|>%@`,?<~0aZ")])
        else:
            lines = bytes(data).split(b"\n")
            line = dice.randrange(len(lines))
            if choice == 3:
                lines.insert(dice.randrange(len(lines)), lines[line])
            elif choice == 4:
                lines[line] = lines[line][2:] if lines[line].startswith(b"  ") else b"  " + lines[line]
            else:
                del lines[line]
            data = bytearray(b"\n".join(lines))
    return bytes(data)


def mutate_values(text: bytes, dice: random.Random) -> bytes:
    """A few values replaced by ones that are read in surprising ways."""
    lines = text.decode("utf-8", "replace").split("\n")
    places = [index for index, line in enumerate(lines) if re.match(r"\s*(- |[\w.-]+:)", line)]
    for index in dice.sample(places, min(len(places), dice.randint(1, 2))):
        match = re.match(r"(\s*(?:- )?(?:[\w.-]+:(?= |$))?)(.*)", lines[index])
        if match:
            lines[index] = f"{match[1].rstrip()} {dice.choice(SCALARS)}" if dice.random() < 0.8 else match[1]
    return "\n".join(lines).encode()


MUTATIONS: dict[str, Mutation] = {"bytes": mutate_bytes, "values": mutate_values}


def main() -> int:
    parser = argparse.ArgumentParser(prog="parity.fuzz")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--oracle", default=find_oracle())
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", choices=sorted({*MUTATIONS, *GENERATORS}), default="bytes")
    parser.add_argument("--keep", type=Path, default=None)
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    sources = [
        Candidate(candidate.folder, candidate.file or _default_file(candidate.folder))
        for candidate in find_projects(arguments.corpus)
    ]
    with tempfile.TemporaryDirectory(prefix="parity-fuzz-") as scratch:
        made = [_write(Path(scratch), index, dice, sources, arguments.mode) for index in range(arguments.count)]
        return _compare(made, arguments.oracle, arguments.keep)


def _default_file(folder: str) -> str:
    return next(name for name in FILE_NAMES if Path(folder, name).exists())


def _write(scratch: Path, index: int, dice: random.Random, sources: list[Candidate], mode: str) -> Candidate:
    folder = scratch / f"{index:05d}" / "project"
    folder.mkdir(parents=True)
    if mode in GENERATORS:
        for name, text in generate(mode, dice).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    else:
        source = dice.choice(sources)
        (folder / "compose.yaml").write_bytes(
            MUTATIONS[mode](Path(source.folder, source.file or "").read_bytes(), dice)
        )
    return Candidate(str(folder), None)


def _compare(made: list[Candidate], oracle: str, keep: Path | None) -> int:
    counts: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda candidate: run_oracle(oracle, candidate), made)
        for candidate, expected in zip(made, outcomes, strict=True):
            found = run_fairlead(candidate)
            verdict, words = judge(expected, found)
            counts[verdict] += 1
            if verdict in SAME:
                continue
            if expected.crash:
                counts["Docker Compose crashed or hung"] += 1
                continue
            kind = f"{verdict}: {re.sub(r'/[^ ]*compose.yaml(:[0-9]+:[0-9]+)?|[0-9]+', '#', words)[:110]}"
            if kind not in kinds:
                kinds[kind] = f"{candidate.folder}: {words}"
                if keep:
                    shutil.copytree(candidate.folder, keep / f"{len(kinds):03d}", dirs_exist_ok=True)
    for number, (_, example) in enumerate(kinds.items(), 1):
        print(f"{number:03d} {example}\n")
    print({str(verdict): count for verdict, count in sorted(counts.items())})
    return 0


if __name__ == "__main__":
    sys.exit(main())
