"""Two thousand seeds in every run of the suite, the seeds that once found a mistake, and the promise that a seed
is one history. `make simulate SEEDS=100000` is the long way round.
"""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tests.simulation.shrink import told
from tests.simulation.sim import run_seed

ROOT = Path(__file__).resolve().parents[2]

FOUND = {
    6: "a wall clock that jumped between two controllers cut a stream short",
    10: "a replica that a list had left out could never be removed",
    26: "a release that had failed was called superseded",
    35: "a removed service waited for ever for a release that was over",
    37: "taking back a rollback counted replicas that had never gone",
    39: "a single writer got a successor while a list left it out",
    53: "a stream was cut after a jump of the clock",
    56: "a slow change of the routes overtook a signal",
    57: "a rollout waited for ever for a dependency that its policy had let through",
    89: "the progress deadline ran out while an old replica had every right to finish",
    96: "three superseded releases left three revisions behind",
    108: "a silent router counted as one that had let everybody go",
    111: "two runs of a job overlapped",
    112: "a project that served nothing could not go down after a crash",
    116: "a deadline for progress was shorter than one for streams",
    120: "a release that failed left its numbers of replicas behind",
    152: "a router that died was asked about requests that had died with it",
    203: "a plan without changes was taken for a release",
    232: "a rollout that goes on in spite of failures waited for ever for a sick replica",
    248: "a port that belongs to somebody else kept a leaving service there",
    340: "a lost replica made a stop-first batch take one more than it may",
    357: "a leaving service without a listener was signalled with requests in flight",
    458: "a route change under way put a replica back that had been signalled",
    504: "a route change under way sent requests to nobody",
    552: "a lost replica made a start-first batch take one more than it may",
    623: "a service removed by a release that failed kept waiting in an older one",
    1075: "a failure of the old revision kept the new one from being started",
    1151: "a deadline was counted from a clock that had jumped",
    1542: "a service withdrawn by a failed release stayed behind",
    1814: "a replica that serves was kept instead of one that does not",
    2190: "a tolerated failure switched the deadline for progress off",
    2658: "a failure just before a release was forgotten by it",
    3164: "replicas that had only begun to start counted as ones that hand over",
    3252: "a replica that only a list had forgotten lost its streams",
    5327: "sick replicas of a bad release were kept while the good ones came back",
    6398: "a single writer was healed beside itself",
    211438: "sick replicas of a superseded release left no room for those that were to follow them",
    319662: "a successor from before a release was counted as one of its new replicas when it never got ready",
    700210: "a replica that a list left out while the router was silent was signalled with a request open",
    1436: "the last old replica left the pool though its successor had just been lost",
    20236: "a router that looked as wanted was believed while it owed what it had said before",
    20417: "a replica counted as gone because a list that left it out was slow to arrive",
    703: "a replica that serves was let go in favour of one that a list left out",
    21228: "a failure that ended a release let an old replica go that served",
    1002048: "a controller that died between the two halves of `down` left an operation that never ended",
    2002027: "an old and a new replica were both started in the last place that a batch leaves",
    2003371: "a release was taken back because the load balancer refused what the one before it had asked for",
    3014581: "a scale in let go whom a silent proxy served, for a successor that was not ready",
    90000220: "stop-first found no place beside a replica that was left of a paused release",
    20018966: "a release was taken back while it waited for the place of a replica that a scale in had let go",
    8012136: "the last old replica was let go though it served, for a successor in its slot that had begun to start",
    3017152: "on a way back without an origin every old replica was let go at once",
    4100020: "a rollback that failed let an old replica go for one that had just been lost",
    3003309: "a job that had completed stayed when it was scaled to nothing, and no operation after it ended well",
    3008984: "a port that belongs to somebody else kept a project there that was to go down",
    3000782: "what became of a command was never written where the disk had been full and its project had gone",
    6596: "a replica that a stale list showed alive was taken back after its end",
}
"""Seeds that found a mistake in the core, with the mistake. What a seed does changes with the simulation itself, so
each mistake that can be told in a few steps also has a test of its own in `tests/unit/rollout`."""

PORTION = 50
"""Seeds a test: small enough for the workers of a suite to share them evenly."""


@pytest.mark.parametrize("seed", FOUND, ids=lambda seed: str(seed))
def test_a_seed_that_found_a_mistake_keeps_every_promise(seed: int) -> None:
    result = run_seed(seed)
    assert not result.failure, f"{FOUND[seed]}, again:\n{told(result, most_runs=100)}"


@pytest.mark.parametrize("first", range(20_000, 22_000, PORTION))
def test_fresh_seeds_keep_every_promise(first: int) -> None:
    failures = [result for result in map(run_seed, range(first, first + PORTION)) if result.failure]
    assert not failures, f"{len(failures)} of {PORTION} seeds failed:\n{told(failures[0], most_runs=100)}"


def test_a_seed_is_one_history_whatever_the_hash_seed() -> None:
    def digest(hash_seed: str) -> str:
        code = (
            "from tests.simulation.sim import run_seed\n"
            "for seed in range(7000, 7012):\n"
            "    print('\\n'.join(run_seed(seed, traced=True).trace))\n"
        )
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, timeout=120, check=True
        )
        assert done.stdout.count(b"\n") > 1_000
        return sha256(done.stdout).hexdigest()

    assert digest("1") == digest("2") == digest("random")


def test_tracing_changes_nothing() -> None:
    for seed in (7, 77, 777):
        plain, traced = run_seed(seed), run_seed(seed, traced=True)
        assert (plain.events, plain.looks, plain.rollouts) == (traced.events, traced.looks, traced.rollouts)


def test_a_failing_history_is_one_that_a_person_can_read() -> None:
    trace = run_seed(7000, traced=True).trace
    assert trace[-1].endswith("every promise was kept")
    assert any("operator" in line for line in trace)
    assert any("replica-ready" in line for line in trace)
