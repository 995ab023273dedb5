"""The load client in a process of its own, for as long as a ``with`` block lasts."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLOWING = 20
"""Checked answers after which the load counts as flowing."""


class Load:
    """``with Load(url, "--rate=100") as load: …``; afterwards ``load.report`` is what the client found."""

    def __init__(self, url: str, *arguments: str, journal: Path | None = None) -> None:
        options = [*arguments, "--progress=0.1"]
        if journal is not None:
            options.append(f"--journal={journal}")
        self._argv = [sys.executable, "-m", "fairlead.load", url, *options]
        self._latest: dict[str, Any] = {"sent": 0, "ok": 0, "failed": 0}
        self._errors: list[str] = []
        self.report: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.wait_until_flowing(FLOWING)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def progress(self) -> dict[str, Any]:
        """Counts up to a moment ago: sent, ok, failed."""
        return self._latest

    def wait_until_flowing(self, answers: int, timeout_s: float = 30.0) -> None:
        """Until ``answers`` more have been checked and found right."""
        wanted = self._latest["ok"] + answers
        deadline_s = time.monotonic() + timeout_s
        while self._latest["ok"] < wanted:
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise AssertionError(f"the load does not flow: {self._latest} {' '.join(self._errors)}")
            time.sleep(0.05)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.startswith("{"):
                self._latest = json.loads(line)
            else:
                self._errors.append(line)

    def _end(self) -> None:
        """Let what is in flight end by itself, and read the report."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        try:
            self._process.terminate()
            # Not communicate(): the thread reads standard error.
            output = self._process.stdout.read()
            self._process.wait(timeout=60)
        finally:
            self._process.kill()
            self._process.wait()
            self._listener.join(timeout=10)
            self._process.stdout.close()
            self._process.stderr.close()
        if output:
            self.report = json.loads(output)


EVERYTHING = ("--rate=100", "--mix=60,15,20,5", "--websockets=20", "--event-streams=10", "--stream-life=4")
"""Every kind of client at once, at a rate that two busy cores can bear."""

IDEMPOTENT = ("--rate=100", "--mix=75,20,0,5")
"""Only what may be sent again: for faults that nobody announces."""


def shown(report: dict[str, Any]) -> str:
    """A report's failures for a person, most telling first."""
    lines = [f"{report['failed']} of {report['sent']} failed"]
    lines += [f"  {f['request']} {f['kind']} after {f['after_s']} s: {f['cause']}" for f in report["failures"][:12]]
    return "\n".join(lines)


def not_begun(report: dict[str, Any], replica: str) -> list[dict[str, Any]]:
    """The failures of idempotent requests that the death of ``replica`` is no excuse for.

    Excused is an answer that this very replica had begun: it cannot be asked for a second time.
    """
    return [each for each in report["failures"] if (each["kind"], each["replica"]) != ("truncated", replica)]


KILL_NOTICED_S = 0.25
"""How long after a kill a request may still be written to a connection of which the end has not been read yet."""
STREAM_NOTICED_S = 2.0


def died_with(
    report: dict[str, Any], replica: str, killed_at_s: float, journal: Path | None = None
) -> list[dict[str, Any]]:
    """The failures that nobody can prevent when ``replica`` is killed: its open streams, and POSTs that had reached it.

    A POST may not be sent twice, and a stream cannot move; everything else must have been answered by another replica.
    Of a POST the load balancer itself says that it had reached a replica, which broke off: 502 (nobody reached is 503).
    It was under way when the replica was killed, and ``journal`` shows that no other replica had it.
    """
    elsewhere = _carried_out_elsewhere(journal, replica)
    return [
        failure
        for failure in report["failures"]
        if _stream_died(failure, replica, killed_at_s) or _post_died(failure, killed_at_s, elsewhere)
    ]


def _stream_died(failure: dict[str, Any], replica: str, killed_at_s: float) -> bool:
    after_s = failure["at_s"] - killed_at_s
    return failure["kind"] == "cut" and failure["replica"] == replica and 0 <= after_s <= STREAM_NOTICED_S


def _post_died(failure: dict[str, Any], killed_at_s: float, elsewhere: frozenset[str]) -> bool:
    sent_at_s = failure["at_s"] - failure["after_s"]
    return (
        failure["request"] == "post"
        and failure["cause"].startswith("status 502 ")
        and sent_at_s - KILL_NOTICED_S <= killed_at_s <= failure["at_s"]
        and failure["nonce"] not in elsewhere
    )


def _carried_out_elsewhere(journal: Path | None, replica: str) -> frozenset[str]:
    """The nonces of POSTs that other replicas than ``replica`` have carried out."""
    if journal is None or not journal.exists():
        return frozenset()
    lines = (line.split(" ") for line in journal.read_text().splitlines())
    return frozenset(words[0] for words in lines if words[-1] != replica)
