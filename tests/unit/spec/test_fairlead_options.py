"""`x-fairlead`."""

from __future__ import annotations

import pytest

from fairlead.spec.model import Probe, ProbeKind, RouteProtocol, Strategy

from .loading import problem, problems, project

FULL = """
x-fairlead:
  engine: process
  rollout: {drain_timeout: 20s, watch: 5s}
  route: {balance: round_robin}
services:
  a:
    image: x
    x-fairlead:
      probes:
        startup: {tcp: true}
        readiness: {http: ":9000/health", interval: 100ms, timeout: 1s, status: 200-299, headers: {A: b}}
        liveness: {command: "check 'it all'", failure_threshold: 5, success_threshold: 2, initial_delay: 1s}
        start_timeout: 1m
      rollout: {strategy: canary, steps: [5%, 25, "50%"], bake: 60s, drain_timeout: 30s, analysis: {p95: "<= 1s"}}
      route:
        {protocol: tcp, host: h, path: /p, sticky: {cookie: c}, weight: 5, retries: 2, timeout: 3s, send_proxy: true}
      autoscale: {min: 2, cpu: 70%}
  b: {image: y}
"""


def test_everything_is_read() -> None:
    options = project(FULL).services["a"].options
    assert options.probes.startup == Probe(kind=ProbeKind.TCP)
    assert options.probes.readiness == Probe(
        kind=ProbeKind.HTTP,
        path="/health",
        port=9000,
        interval_s=0.1,
        timeout_s=1.0,
        status=(200, 299),
        headers={"A": "b"},
    )
    assert options.probes.liveness == Probe(
        kind=ProbeKind.COMMAND,
        command=("check", "it all"),
        failure_threshold=5,
        success_threshold=2,
        initial_delay_s=1.0,
    )
    assert options.probes.start_timeout_s == 60.0
    rollout, route = options.rollout, options.route
    assert (rollout.strategy, rollout.steps, rollout.bake_s) == (Strategy.CANARY, (5.0, 25.0, 50.0), 60.0)
    assert (rollout.drain_timeout_s, rollout.watch_s, rollout.analysis) == (30.0, 5.0, {"p95": "<= 1s"})
    assert (route.protocol, route.host, route.path, route.sticky_cookie) == (RouteProtocol.TCP, "h", "/p", "c")
    assert (route.balance, route.weight, route.retries, route.timeout_s, route.send_proxy) == (
        "round_robin",
        5,
        2,
        3.0,
        True,
    )
    assert options.autoscale == {"min": 2, "cpu": "70%"}


def test_the_project_gives_defaults() -> None:
    loaded = project(FULL)
    assert loaded.services["b"].options.rollout.drain_timeout_s == 20.0
    assert loaded.services["b"].options.route.balance == "round_robin"
    assert loaded.extensions["x-fairlead"]["engine"] == "process"


HTTP = "write for example {http: /health}"
PATH = "write a path such as /health; the port, if it is not the first, in front of it: :9000/health"
ENGINE = "write it at the top of the file: x-fairlead: {engine: docker}"
DURATION = "write a duration such as 30s, 1m30s or 500ms"


@pytest.mark.parametrize(
    ("options", "words", "fix"),
    [
        ("{probe: {}}", "unknown key 'probe'", "did you mean 'probes'?"),
        ("{probes: {readines: {}}}", "unknown key 'readines'", "did you mean 'readiness'?"),
        ("{probes: {readiness: {}}}", "one of http, tcp and command is missing", HTTP),
        (
            "{probes: {readiness: {http: /, tcp: 1}}}",
            "http and tcp exclude each other",
            HTTP,
        ),
        ("{probes: {readiness: {http: /, interval: 50ms}}}", "too short", "write 100ms or more"),
        ("{probes: {readiness: {http: /, interval: 5}}}", "expected a string", "write it with its unit: 5s"),
        ("{probes: {readiness: {command: ''}}}", "the command is empty", 'write for example ["curl", "-f", "…"]'),
        ("{probes: {readiness: {command: []}}}", "the command is empty", 'write for example ["curl", "-f", "…"]'),
        ("{probes: {readiness: {http: 'http://localhost:80/up'}}}", "not a path", PATH),
        ("{probes: {readiness: {http: 'localhost:80/up'}}}", "not a path", PATH),
        ("{probes: {readiness: {http: ':80x/up'}}}", "not a path", PATH),
        ("{probes: {readiness: {http: '/up now'}}}", "not a path", PATH),
        ("{engine: docker}", "one engine runs the whole project", ENGINE),
        (
            "{probes: {readiness: {http: /, timeout: soon}}}",
            "not a duration",
            DURATION,
        ),
        ("{probes: {readiness: {http: /, status: ok}}}", "not an HTTP status", "write 200, or a range such as 200-399"),
        ("{probes: {readiness: {tcp: 70000}}}", "is not between 1 and 65535", "write a number between 1 and 65535"),
        ("{rollout: {strategy: rollin}}", "'rollin' is not one of", "did you mean 'rolling'?"),
        ("{rollout: {steps: [200%]}}", "not between 0% and 100%", "write a share such as 25%"),
        ("{rollout: {drain_timeout: -1s}}", "is negative", DURATION),
        ("{route: {balance: leastconn}}", "is not one of least_conn", "did you mean 'least_conn'?"),
        ("{route: {sticky: {}}}", "'cookie' is missing", "add 'cookie'"),
        ("{route: {host: 'https://a.b'}}", "'https://a.b' is no host", "write a name such as shop.example.org"),
        ("{route: {host: 'a.b:80'}}", "'a.b:80' is no host", "write a name such as shop.example.org"),
        ("{route: {path: api}}", "'api' is no path", "write a path such as /api"),
        ("{route: {path: '/a b'}}", "'/a b' is no path", "write a path such as /api"),
        (
            "{route: {sticky: {cookie: 'a b'}}}",
            "'a b' is no name of a cookie",
            "write letters, digits, '_', '.' and '-'",
        ),
        ("{autoscale: 5}", "expected a mapping", "write a mapping"),
        ("5", "expected a mapping", "write a mapping"),
    ],
)
def test_what_is_wrong(options: str, words: str, fix: str) -> None:
    found = problem(f"x-fairlead: {options}")
    assert words in found.message
    assert found.fix == fix
    assert found.line == 4


def test_the_project_level_is_checked_too() -> None:
    (found,) = problems("x-fairlead: {rollout: {wait: 5s}}\nservices: {a: {image: x}}")
    assert found.key == "x-fairlead.rollout.wait"


@pytest.mark.parametrize(
    ("written", "port", "path"), [("up", None, "/up"), ("/up?a=b", None, "/up?a=b"), (":80", 80, "/")]
)
def test_the_path_of_a_probe(written: str, port: int | None, path: str) -> None:
    loaded = project(f"services: {{a: {{image: x, x-fairlead: {{probes: {{readiness: {{http: '{written}'}}}}}}}}}}")
    probe = loaded.services["a"].options.probes.readiness
    assert probe is not None
    assert (probe.port, probe.path) == (port, path)
