"""`python -m tests.simulation --seeds N [--start S] [--jobs J]`: live through many seeds, print those that fail.

With `--trace SEED` one history is printed, as a person can read it; with `--minimal SEED` the smallest one found in
which the seed breaks the same promise, which is also printed of the first seed that fails.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from tests.simulation.shrink import told
from tests.simulation.sim import Result, run_seed

CHUNK = 50
SHOWN = 20
TELL_EVERY = 1000


def main() -> int:
    options = _options()
    if options.trace is not None:
        result = run_seed(options.trace, traced=True)
        print("\n".join(result.trace))
        return 1 if result.failure else 0
    if options.minimal is not None:
        result = run_seed(options.minimal)
        print(told(result) if result.failure else f"seed {options.minimal}: every promise was kept")
        return 1 if result.failure else 0
    seeds = range(options.start, options.start + options.seeds)
    began_s, cpu_s = time.monotonic(), 0.0
    failures: list[Result] = []
    total: Counter[str] = Counter()
    for result in _results(seeds, options.jobs):
        cpu_s += result.cpu_s
        total.update(rollouts=result.rollouts, looks=result.looks, sent=result.sent, failed=result.failed, seeds=1)
        if result.failure:
            failures.append(result)
            if len(failures) <= SHOWN:
                print(f"seed {result.seed}: {result.failure}", flush=True)
        if options.fail_fast and failures:
            break
        if total["seeds"] % TELL_EVERY == 0 and total["seeds"] < len(seeds):
            _progress(total["seeds"], len(seeds), len(failures), time.monotonic() - began_s)
    _report(total, failures, max(cpu_s, 0.001), time.monotonic() - began_s)
    if failures and not options.fail_fast:
        print(told(failures[0]))
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument("--trace", type=int, default=None, metavar="SEED", help="print one history")
    parser.add_argument("--minimal", type=int, default=None, metavar="SEED", help="print the smallest failing history")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first failure, and only name it")
    return parser.parse_args()


def _results(seeds: range, jobs: int) -> Iterator[Result]:
    """In the order of the seeds, however many processes share them."""
    if min(jobs, len(seeds) // CHUNK) <= 1:
        _collect_between()
        yield from map(timed, seeds)
        return
    with ProcessPoolExecutor(jobs, initializer=_collect_between) as pool:
        yield from pool.map(timed, seeds, chunksize=CHUNK)


def _collect_between() -> None:
    """What a history makes has hardly a cycle but for its world, which is there until it ends: :func:`timed` collects
    it then, and nobody looks for it before, nor ever in what was imported."""
    gc.collect()
    gc.freeze()
    gc.disable()


def timed(seed: int) -> Result:
    """One seed with the processor time that it took, which other work on the machine does not change."""
    began_s = time.process_time()
    result = run_seed(seed)
    gc.collect()
    return replace(result, cpu_s=time.process_time() - began_s)


def _progress(done: int, seeds: int, failed: int, took_s: float) -> None:
    left_s = took_s / done * (seeds - done)
    print(f"{done} of {seeds} seeds, {failed} failed, about {left_s / 60:.0f} min left", file=sys.stderr, flush=True)


def _report(total: Counter[str], failures: list[Result], cpu_s: float, took_s: float) -> None:
    rate = total["rollouts"] / cpu_s
    print(
        f"{total['seeds']} seeds, {total['rollouts']} rollouts, {total['looks']} looks, {total['sent']} requests "
        f"({total['failed']} broken by faults) in {took_s:.1f} s, {cpu_s:.1f} s of processor time: "
        f"{rate:.0f} rollouts a second on one core"
    )
    for rule, count in Counter(failure.rule for failure in failures).most_common():
        first = min(failure.seed for failure in failures if failure.rule == rule)
        print(f"  {count:6d} x {rule} (first: seed {first})")
    if failures:
        print(f"{len(failures)} seeds failed; see one with: python -m tests.simulation --minimal {failures[0].seed}")


if __name__ == "__main__":
    sys.exit(main())
