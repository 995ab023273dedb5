"""``python -m tests.integration.parity CORPUS [--oracle PATH] [--details] [--only VERDICT]``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.parity.compare import SAME, Verdict, judge
from tests.integration.parity.oracle import find_oracle
from tests.integration.parity.projects import find_projects
from tests.integration.parity.sides import run_fairlead, run_oracle

TARGET = 0.99


def main() -> int:
    parser = argparse.ArgumentParser(prog="parity")
    parser.add_argument("corpus", type=Path, nargs="+")
    parser.add_argument("--oracle", default=find_oracle(), help="the binary of Docker Compose")
    parser.add_argument("--details", action="store_true", help="also list what both reject or is different on purpose")
    arguments = parser.parse_args()
    if not arguments.oracle:
        parser.error("Docker Compose was not found; name its binary with --oracle (make parity ORACLE=path)")
    worst = 1.0
    for corpus in arguments.corpus:
        worst = min(worst, compare_corpus(corpus, arguments.oracle, arguments.details))
    return 0 if worst >= TARGET else 1


def compare_corpus(corpus: Path, oracle: str, details: bool) -> float:
    """Print the report on one corpus; the share of projects that are treated the same."""
    counts: Counter[Verdict] = Counter()
    slowest, oracle_s, fairlead_s = (0.0, ""), 0.0, 0.0
    candidates = list(find_projects(corpus))
    with ThreadPoolExecutor(2) as pool:
        outcomes = pool.map(lambda candidate: run_oracle(oracle, candidate), candidates)
        for candidate, expected in zip(candidates, outcomes, strict=True):
            found = run_fairlead(candidate)
            verdict, words = judge(expected, found)
            counts[verdict] += 1
            oracle_s, fairlead_s = oracle_s + expected.seconds, fairlead_s + found.seconds
            slowest = max(slowest, (found.seconds, candidate.name))
            if verdict not in SAME or (details and verdict is not Verdict.EQUAL):
                print(f"[{verdict}] {candidate.name}\n    {words}")
    same = sum(counts[verdict] for verdict in SAME)
    share = same / len(candidates) if candidates else 1.0
    print(f"\n{corpus}: {len(candidates)} projects, {same} the same or different on purpose ({share:.2%})")
    for verdict in Verdict:
        print(f"  {counts[verdict]:6d}  {verdict}")
    print(f"  slowest for Fairlead: {slowest[0] * 1000:.0f} ms, {slowest[1]}")
    print(f"  time: Docker Compose {oracle_s:.1f} s (processes), Fairlead {fairlead_s:.1f} s (in this process)\n")
    return share


if __name__ == "__main__":
    sys.exit(main())
