"""`x-fairlead`: what a Compose file cannot say, read into :class:`ServiceOptions`.

Called by the loader (to check) and by :mod:`fairlead.spec.build_project` (to read). Under the top-level
key stand the defaults of every service; a service's own key wins, attribute by attribute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fairlead.spec.model import (
    Probe,
    ProbeKind,
    Probes,
    RolloutOptions,
    RouteOptions,
    RouteProtocol,
    ServiceOptions,
    Strategy,
)
from fairlead.spec.numbers import nanoseconds
from fairlead.spec.report import Report
from fairlead.spec.route_words import COOKIE, HOST, PATH
from fairlead.spec.rules import words
from fairlead.spec.schema import ANYTHING, DURATION, TEXT, TEXTS, either, fields, many, record, table
from fairlead.spec.shapes import Shape, check
from fairlead.spec.tree import Map, Path, Seq, clone
from fairlead.spec.words import split_words

_COUNT = Shape("integer", low=1)
_PORT = Shape("integer", low=1, high=65535)
PROBE = record(
    http=TEXT,
    tcp=Shape("boolean integer", low=1, high=65535),
    command=either(TEXT, TEXTS),
    port=_PORT,
    status=Shape("integer string", low=100, high=599),
    headers=table(TEXT),
    **fields(DURATION, "interval timeout initial_delay"),
    **fields(_COUNT, "failure_threshold success_threshold"),
)
_PERCENT = Shape("string number", low=0, high=100)
_SWITCH = Shape("boolean")
PROBES = record(startup=PROBE, readiness=PROBE, liveness=PROBE, start_timeout=DURATION)
ROLLOUT = record(
    strategy=Shape("string", choices=tuple(str(strategy) for strategy in Strategy)),
    steps=many(_PERCENT),
    **fields(DURATION, "bake drain_timeout stream_timeout hold_timeout watch progress_deadline"),
    analysis=table(ANYTHING),
)
ROUTE = record(
    protocol=Shape("string", choices=tuple(str(protocol) for protocol in RouteProtocol)),
    host=TEXT,
    path=TEXT,
    balance=Shape("string", choices=("least_conn", "round_robin", "source")),
    sticky=record("cookie", cookie=TEXT),
    weight=Shape("integer", low=0, high=256),
    retries=Shape("integer", low=0, high=100),
    timeout=DURATION,
    send_proxy=_SWITCH,
)
OPTIONS = record(
    probes=PROBES, rollout=ROLLOUT, route=ROUTE, autoscale=either(table(ANYTHING), Shape("null")), engine=TEXT
)
PROJECT_OPTIONS = record(
    probes=PROBES,
    rollout=ROLLOUT,
    route=ROUTE,
    autoscale=table(ANYTHING),
    engine=either(TEXT, table(ANYTHING)),
)
_SHORTEST_INTERVAL_S = 0.1
_HTTP = re.compile(r"(?::[0-9]{1,5})?(?:/\S*)?|[^\s:/][^\s:]*")
"""What a probe's `http` may be: a path, its port in front of it, or a path that lacks the slash; never a whole URL."""
_DURATIONS = frozenset(
    words(
        "interval timeout initial_delay start_timeout bake drain_timeout stream_timeout hold_timeout watch "
        "progress_deadline"
    )
)


def check_options(model: Map, report: Report) -> None:
    """Check every `x-fairlead` of the project."""
    if "x-fairlead" in model:
        _check(model, ("x-fairlead",), PROJECT_OPTIONS, report)
    services = model.get("services")
    for name, service in services.items() if isinstance(services, Map) else ():
        if isinstance(service, Map) and "x-fairlead" in service:
            _check(service, ("services", name, "x-fairlead"), OPTIONS, report)


def _check(owner: Map, path: Path, shape: Shape, report: Report) -> None:
    value = owner["x-fairlead"]
    if not check(value, shape, path, owner.mark("x-fairlead"), report) or not isinstance(value, Map):
        del owner["x-fairlead"]
        return
    probes = value.get("probes")
    for kind in ("startup", "readiness", "liveness"):
        if isinstance(probes, Map) and isinstance(probes.get(kind), Map):
            _check_probe(probes, kind, (*path, "probes", kind), report)
    for section in ("probes", "rollout", "route"):
        if isinstance(value.get(section), Map):
            _check_durations(value[section], (*path, section), report)
    if isinstance(value.get("route"), Map):
        _check_route(value["route"], (*path, "route"), report)
    if "engine" in value and shape is OPTIONS:
        fix = f"write it at the top of the file: x-fairlead: {{engine: {value['engine']}}}"
        report.problem("one engine runs the whole project", value.mark("engine"), (*path, "engine"), fix)
    rollout = value.get("rollout")
    steps = rollout.get("steps") if isinstance(rollout, Map) else None
    for index, step in enumerate(steps if isinstance(steps, Seq) else ()):
        try:
            _percent(step)
        except ValueError as error:
            at = steps.mark(index) if isinstance(steps, Seq) else owner.at
            report.problem(str(error), at, (*path, "rollout", "steps", f"[{index}]"), "write a share such as 25%")


def _check_probe(probes: Map, kind: str, path: Path, report: Report) -> None:
    probe: Map = probes[kind]
    ways = [way for way in ("http", "tcp", "command") if way in probe and probe[way] is not False]
    if len(ways) != 1 and not report.is_broken(path):
        words = f"{' and '.join(ways)} exclude each other" if ways else "one of http, tcp and command is missing"
        report.problem(words, probes.mark(kind), path, "write for example {http: /health}")
    _check_question(probe, path, report)
    status = probe.get("status")
    if status is not None:
        try:
            _status(status)
        except ValueError as error:
            report.problem(str(error), probe.mark("status"), (*path, "status"), "write 200, or a range such as 200-399")
    _check_durations(probe, path, report)
    if not report.is_broken((*path, "interval")) and "interval" in probe:
        interval = nanoseconds(probe["interval"]) / 1e9
        if interval < _SHORTEST_INTERVAL_S:
            report.problem(
                f"an interval of {probe['interval']} is too short",
                probe.mark("interval"),
                (*path, "interval"),
                "write 100ms or more",
            )


def _check_question(probe: Map, path: Path, report: Report) -> None:
    http, command = probe.get("http"), probe.get("command")
    if isinstance(http, str) and not _HTTP.fullmatch(http):
        fix = "write a path such as /health; the port, if it is not the first, in front of it: :9000/health"
        report.problem(f"{http!r} is not a path", probe.mark("http"), (*path, "http"), fix)
    if isinstance(command, str | Seq) and not (command.strip() if isinstance(command, str) else command):
        fix = 'write for example ["curl", "-f", "…"]'
        report.problem("the command is empty", probe.mark("command"), (*path, "command"), fix)


def _check_route(route: Map, path: Path, report: Report) -> None:
    """An empty word counts as none: a variable that is not set leaves one."""
    sticky = route.get("sticky")
    for owner, where, key, pattern, what, fix in (
        (route, path, "host", HOST, "host", "write a name such as shop.example.org"),
        (route, path, "path", PATH, "path", "write a path such as /api"),
        (sticky, (*path, "sticky"), "cookie", COOKIE, "name of a cookie", "write letters, digits, '_', '.' and '-'"),
    ):
        word = owner.get(key) if isinstance(owner, Map) else None
        if isinstance(owner, Map) and isinstance(word, str) and word and not pattern.fullmatch(word):
            report.problem(f"{word!r} is no {what}", owner.mark(key), (*where, key), fix)


def _check_durations(section: Map, path: Path, report: Report) -> None:
    for key in sorted(_DURATIONS & section.keys()):
        try:
            if nanoseconds(section[key]) < 0:
                raise ValueError(f"{section[key]!r} is negative")
        except ValueError as error:
            report.problem(str(error), section.mark(key), (*path, key), "write a duration such as 30s, 1m30s or 500ms")


def service_options(project: Mapping[str, Any] | None, service: Mapping[str, Any] | None) -> ServiceOptions:
    """The options of one service: its own on the project's defaults. Both were checked before."""
    if not project and not service:
        return ServiceOptions()
    merged = _overlaid(project or {}, service or {})
    autoscale = merged.get("autoscale")
    return ServiceOptions(
        probes=_probes(merged.get("probes") or {}),
        rollout=_rollout(merged.get("rollout") or {}),
        route=_route(merged.get("route") or {}),
        autoscale=clone(autoscale) if autoscale is not None else None,
    )


def _overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``over`` on ``base``; a probe is replaced whole, because its kind may change."""
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        deeper = isinstance(known, Mapping) and isinstance(value, Mapping) and key in ("probes", "rollout", "route")
        merged[key] = {**known, **value} if deeper and known is not None else value
    return merged


def _probes(value: Mapping[str, Any]) -> Probes:
    return Probes(
        startup=_probe(value.get("startup")),
        readiness=_probe(value.get("readiness")),
        liveness=_probe(value.get("liveness")),
        start_timeout_s=_seconds(value, "start_timeout"),
    )


def _probe(value: Mapping[str, Any] | None) -> Probe | None:
    if value is None:
        return None
    tcp, path = value.get("tcp"), value.get("http")
    port = value.get("port")
    if path is not None:
        kind = ProbeKind.HTTP
        if path.startswith(":"):
            digits, _, rest = path[1:].partition("/")
            port, path = int(digits) if digits.isdecimal() and len(digits) < 6 else port, f"/{rest}"
    elif "command" in value:
        kind = ProbeKind.COMMAND
    else:
        kind = ProbeKind.TCP
        port = tcp if isinstance(tcp, int) and not isinstance(tcp, bool) else port
    command = value.get("command", ())
    known = Probe(kind=kind)
    return Probe(
        kind=kind,
        path=path if path and path.startswith("/") else f"/{path or ''}",
        port=port,
        command=tuple(split_words(command)) if isinstance(command, str) else tuple(command),
        status=_status(value["status"]) if "status" in value else known.status,
        headers=dict(value.get("headers", {})),
        interval_s=_seconds(value, "interval") or known.interval_s,
        timeout_s=_seconds(value, "timeout") or known.timeout_s,
        failure_threshold=value.get("failure_threshold", known.failure_threshold),
        success_threshold=value.get("success_threshold", known.success_threshold),
        initial_delay_s=_seconds(value, "initial_delay") or 0.0,
    )


def _rollout(value: Mapping[str, Any]) -> RolloutOptions:
    return RolloutOptions(
        strategy=Strategy(value.get("strategy", Strategy.ROLLING)),
        drain_timeout_s=_seconds(value, "drain_timeout"),
        stream_timeout_s=_seconds(value, "stream_timeout"),
        hold_timeout_s=_seconds(value, "hold_timeout"),
        watch_s=_seconds(value, "watch"),
        progress_deadline_s=_seconds(value, "progress_deadline"),
        steps=tuple(_percent(step) for step in value.get("steps", ())),
        bake_s=_seconds(value, "bake"),
        analysis=dict(value.get("analysis", {})),
    )


def _route(value: Mapping[str, Any]) -> RouteOptions:
    protocol = value.get("protocol")
    known = RouteOptions()
    return RouteOptions(
        protocol=RouteProtocol(protocol) if protocol else None,
        host=value.get("host"),
        path=value.get("path"),
        balance=value.get("balance", known.balance),
        sticky_cookie=(value.get("sticky") or {}).get("cookie"),
        weight=value.get("weight", known.weight),
        retries=value.get("retries"),
        timeout_s=_seconds(value, "timeout"),
        send_proxy=value.get("send_proxy", False),
    )


def _seconds(value: Mapping[str, Any], key: str) -> float | None:
    return nanoseconds(value[key]) / 1e9 if key in value else None


def _percent(value: Any) -> float:
    """``25%``, ``25`` or ``"25"``: a share of the traffic in percent."""
    text = value.strip().removesuffix("%").strip() if isinstance(value, str) else value
    try:
        share = float(text)
    except ValueError:
        raise ValueError(f"{value!r} is not a percentage") from None
    if not 0 < share <= 100:
        raise ValueError(f"{value} is not between 0% and 100%")
    return share


def _status(value: Any) -> tuple[int, int]:
    first, dash, last = str(value).partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or len(first) + len(last) > 6:
        raise ValueError(f"{value!r} is not an HTTP status or a range of them")
    low, high = int(first), int(last if dash else first)
    if not 100 <= low <= high <= 599:
        raise ValueError(f"{value!r} is not between 100 and 599")
    return low, high
