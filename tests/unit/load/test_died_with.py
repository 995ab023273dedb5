"""Which failures are put down to a replica that was killed, and which are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.e2e.load import died_with

KILLED, OTHER, AT_S = "shop.api.1", "shop.api.2", 1000.0
POST = {
    "request": "post",
    "kind": "status",
    "cause": "status 502 instead of 200",
    "replica": "",
    "nonce": "run-7",
    "at_s": AT_S + 0.01,
    "after_s": 0.5,
}
STREAM = POST | {"request": "websocket", "kind": "cut", "cause": "the connection ended", "replica": KILLED}


@pytest.mark.parametrize(
    ("failure", "excused"),
    [
        pytest.param(POST, True, id="a POST under way"),
        pytest.param(POST | {"after_s": 0.0, "at_s": AT_S + 0.1}, True, id="a POST just after, on a kept connection"),
        pytest.param(POST | {"cause": "status 503 instead of 200"}, False, id="a POST that reached nobody"),
        pytest.param(POST | {"kind": "disconnected", "cause": "no answer"}, False, id="cut off by the load balancer"),
        pytest.param(POST | {"at_s": AT_S + 1.5}, False, id="a POST sent a second later"),
        pytest.param(POST | {"at_s": AT_S - 0.1}, False, id="a POST that failed before"),
        pytest.param(POST | {"nonce": "run-8"}, False, id="a POST that another replica carried out"),
        pytest.param(POST | {"request": "get"}, False, id="a GET, which can be repeated"),
        pytest.param(STREAM, True, id="a stream on it"),
        pytest.param(STREAM | {"replica": OTHER}, False, id="a stream on another replica"),
    ],
)
def test_only_what_was_on_the_killed_replica_is_excused(tmp_path: Path, failure: dict[str, Any], excused: bool) -> None:
    journal = tmp_path / "journal"
    journal.write_text(f"run-7 v1 {KILLED}\nrun-8 v1 {OTHER}\n")
    assert died_with({"failures": [failure]}, KILLED, AT_S, journal) == ([failure] if excused else [])
