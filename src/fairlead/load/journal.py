"""Was every POST carried out exactly once? Called by `run` at the end, when nothing is in flight any more.

The application appends a line for each POST that it carries out, beginning with the nonce. A proxy or a client that
sends a request again after it had reached the application leaves two lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from pathlib import Path

from fairlead.load.report import FailureKind, Fault


def audit(journal: Path, run_id: str, acknowledged: Set[str]) -> Iterator[Fault]:
    """A fault for each nonce of the run ``run_id`` that is there twice, and each acknowledged one that is not."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    done = Counter(line.split(" ")[0] for line in lines if line.startswith(f"{run_id}-"))
    for nonce, times in sorted(done.items()):
        if times > 1:
            yield Fault(FailureKind.REPEATED, f"POST {nonce} was carried out {times} times")
    for nonce in sorted(acknowledged - done.keys()):
        yield Fault(FailureKind.LOST, f"POST {nonce} was answered and never carried out")
