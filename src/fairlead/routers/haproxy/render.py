"""Frontends → the text of ``haproxy.cfg``; pure, the same input gives the same text.

Called by `router` for a start or a reload, by whatever launcher. The text without its servers is the
*structure*: its fingerprint stands in the configuration, is read back from the running worker, and tells whether
a reload is needed at all. Endpoints, weights, states and holding times are changed by the Runtime API instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.routers.haproxy import record
from fairlead.routers.haproxy.files import Files
from fairlead.routers.haproxy.layout import BALANCE, Frontend
from fairlead.routers.haproxy.names import STREAMS_TABLE, quoted
from fairlead.routing import Address, Endpoint, EndpointState, Route
from fairlead.spec.model import RouteProtocol

TIMEOUT_S = 60.0
STREAM_IDLE_S = 3600
# Bounds for how long an idle client connection keeps a worker that was replaced.
KEEP_ALIVE_S = 20
HARD_STOP_AFTER = "7d"
_PRIVATE = "127.0.0.0/8 ::1 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fe80::/10"
_ORIGIN = "'^(x[-_])?(forwarded([-_].*)?|real[-_]ip)$'"
"""The headers that tell where a request came from; with `_` for `-` too, since CGI and WSGI make them the same."""
_NOWHERE = "fl-nowhere"
_AGAIN = "fl-again-"
_IDEMPOTENT = "GET HEAD OPTIONS TRACE PUT DELETE"

HOLD_LUA = """\
-- A request, or a TCP connection, waits here while its pool is empty; not in a worker that has been replaced,
-- which passes it on to its successor. Loaded by haproxy.cfg.
local STEP_MS = 25
-- HAProxy counts a server as usable before it gives its backend any weight, and with no weight there is nobody to
-- balance to: where a thread is preempted in between, everybody who stopped waiting would be answered with 503.
local function empty(txn, backend)
  return txn.f:nbsrv(backend) == 0 or core.backends[backend]:get_stats()["weight"] == 0
end
local function waiting(txn, backend)
  local stopping = txn.f:stopping()
  return stopping ~= 1 and stopping ~= true and empty(txn, backend)
end
local function hold(txn, backend)
  local left_ms = tonumber(txn:get_var("txn.fl_hold_ms")) or 0
  while left_ms > 0 and waiting(txn, backend) do
    core.msleep(STEP_MS)
    left_ms = left_ms - STEP_MS
  end
end
core.register_action("fairlead_hold", {"http-req", "tcp-req"}, hold, 1)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the configuration needs to know of the place where HAProxy runs.

    ``files`` as HAProxy sees them. ``drop_to``: the user and group ids that workers take, None: they stay.
    """

    files: Files
    max_connections: int
    dual_stack: bool
    drop_to: tuple[int, int] | None = None


def fingerprint(frontends: Sequence[Frontend], environment: Environment) -> str:
    """The structure's identity: two equal ones differ at most in what the Runtime API changes."""
    bare = "\n".join(_sections(frontends, environment, "", servers=False))
    return hashlib.sha256(bare.encode()).hexdigest()[:16]


def config(frontends: Sequence[Frontend], environment: Environment) -> str:
    mark = fingerprint(frontends, environment)
    return "\n".join([*_sections(frontends, environment, mark, servers=True), "", *record.lines(frontends)]) + "\n"


def hold_map(frontends: Sequence[Frontend]) -> dict[str, str]:
    """Backend name → milliseconds that a request waits for a first endpoint, as `hold.map` has it."""
    routes = (route for frontend in frontends for route in frontend.routes)
    return {quoted(route.key): str(max(0, round(route.hold_timeout_s * 1000))) for route in routes}


def server_address(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"


def server_options(route: Route) -> str:
    """What every server of the route has; `add server` inherits nothing, so both ways spell it out."""
    return "send-proxy" if route.send_proxy else ""


def cookie_key(route: Route) -> str:
    return hashlib.sha256(f"fairlead {route.key}".encode()).hexdigest()[:32]


def _sections(frontends: Sequence[Frontend], environment: Environment, mark: str, *, servers: bool) -> list[str]:
    lines = _global(environment, mark)
    for frontend in frontends:
        lines += ["", *_frontend(frontend, environment), "", *_again(frontend, environment)]
        for route in frontend.routes:
            lines += ["", *_backend(route, servers=servers)]
    return lines


def _global(environment: Environment, mark: str) -> list[str]:
    files = environment.files
    drop = [f"    uid {environment.drop_to[0]}", f"    gid {environment.drop_to[1]}"] if environment.drop_to else []
    return [
        "# Written by Fairlead; every change is overwritten.",
        "global",
        f'    description "fairlead {mark}"',
        f"    maxconn {environment.max_connections}",
        f'    stats socket "unix@{files.worker_socket}" mode 600 level admin expose-fd listeners',
        f'    lua-load "{files.hold_lua}"',
        f"    hard-stop-after {HARD_STOP_AFTER}",
        # Without this a second HAProxy of the same user would silently share the port.
        "    noreuseport",
        *drop,
        "",
        "defaults",
        "    timeout connect 5s",
        f"    timeout client {TIMEOUT_S:g}s",
        f"    timeout server {TIMEOUT_S:g}s",
        "    timeout http-request 60s",
        f"    timeout http-keep-alive {KEEP_ALIVE_S}s",
        f"    timeout queue {TIMEOUT_S:g}s",
        f"    timeout tunnel {STREAM_IDLE_S}s",
        "    option idle-close-on-response",
        "    option redispatch 1",
        "    option dontlognull",
        "",
        f"backend {STREAMS_TABLE}",
        "    stick-table type string len 512 size 100k expire 1h store conn_cur",
        "",
        f"backend {_NOWHERE}",
        "    mode http",
        '    http-request return status 404 content-type text/plain string "no service answers here\\n"',
    ]


def _binds(frontend: Frontend, environment: Environment) -> list[str]:
    listen = frontend.listen
    private = "" if environment.drop_to else " mode 600"
    own = [f"    bind {_successor(frontend, environment)} accept-proxy{private}"]
    if listen.host is not None:
        only = " v6only" if listen.host == "::" else ""
        return [f"    bind {server_address(Address(host=listen.host, port=listen.port))}{only}", *own]
    both = [f"    bind :::{listen.port} v6only"] if environment.dual_stack else []
    return [f"    bind *:{listen.port}", *both, *own]


def _successor(frontend: Frontend, environment: Environment) -> str:
    """Where a worker that was replaced reaches its successor.

    Workers without rights cannot reach a file of the home: for them an abstract socket, which 2.6 however cannot
    pause when a reload fails.
    """
    place = f"{environment.files.folder} {frontend.name}"
    digest = hashlib.sha256(place.encode()).hexdigest()
    if environment.drop_to:
        return f"abns@fl-{digest[:32]}"
    return f'"unix@{environment.files.sockets}/f-{digest[:8]}.sock"'


def _again(frontend: Frontend, environment: Environment) -> list[str]:
    """A worker that was replaced cannot be told of changes: what still arrives there goes to its successor."""
    return [
        f"backend {_AGAIN}{frontend.name}",
        f"    mode {frontend.protocol.value}",
        f"    timeout server {STREAM_IDLE_S}s",
        f"    server next {_successor(frontend, environment)} send-proxy-v2",
    ]


def _frontend(frontend: Frontend, environment: Environment) -> list[str]:
    lines = [f"frontend {frontend.name}", *_binds(frontend, environment)]
    if frontend.protocol is RouteProtocol.TCP:
        return [*lines, *_tcp_rules(frontend, environment)]
    slowest_s = max(TIMEOUT_S, *(route.timeout_s or 0 for route in frontend.routes))
    names = [quoted(route.key) for route in frontend.routes]
    by_host = any(route.host for route in frontend.routes)
    return [
        *lines,
        "    mode http",
        f"    timeout client {_ms(slowest_s)}",
        *(["    http-request set-var(txn.fl_host) req.hdr(host),field(1,:),lower"] if by_host else []),
        *map(_choice, frontend.routes),
        *(line for name in names for line in _hold(name, environment)),
        f"    use_backend {_AGAIN}{frontend.name} if {{ stopping }}",
        "    use_backend %[var(txn.fl_route)] if { var(txn.fl_route) -m found }",
        f"    default_backend {_NOWHERE}",
    ]


def _tcp_rules(frontend: Frontend, environment: Environment) -> list[str]:
    name = quoted(frontend.routes[0].key)
    return [
        "    mode tcp",
        f"    timeout client {STREAM_IDLE_S}s",
        f"    tcp-request inspect-delay {STREAM_IDLE_S}s",
        f"    tcp-request content set-var(txn.fl_hold_ms) str({name}),map({environment.files.hold_map},0)",
        f"    tcp-request content lua.fairlead_hold {name} if {{ nbsrv({name}) eq 0 }}",
        f"    tcp-request content reject if {{ nbsrv({name}) eq 0 }} !{{ stopping }}",
        f"    use_backend {_AGAIN}{frontend.name} if {{ stopping }}",
        f"    default_backend {name}",
    ]


def _hold(name: str, environment: Environment) -> list[str]:
    # The count first: it is the cheaper question, and nearly always the last.
    nobody = f"{{ nbsrv({name}) eq 0 }} {{ var(txn.fl_route) -m str {name} }}"
    return [
        f"    http-request set-var(txn.fl_hold_ms) str({name}),map({environment.files.hold_map},0) if {nobody}",
        f"    http-request lua.fairlead_hold {name} if {nobody}",
    ]


def _choice(route: Route) -> str:
    """Routes come with the most specific first, and the first that fits is kept."""
    condition = f"!{{ var(txn.fl_route) -m found }} {_rule_condition(route)}".strip()
    return f"    http-request set-var(txn.fl_route) str({quoted(route.key)}) if {condition}"


def _rule_condition(route: Route) -> str:
    conditions = []
    if route.host:
        host = route.host.lower()
        match = f"-m end {host[1:]}" if host.startswith("*.") else f"-m str {host}"
        conditions.append(f"{{ var(txn.fl_host) {match} }}")
    prefix = (route.path or "").rstrip("/")
    if prefix:
        conditions.append(f"{{ path -m reg ^{_regex(prefix)}(/|$) }}")
    return " ".join(conditions)


def _regex(text: str) -> str:
    return "".join(char if char.isalnum() or char in "/_-~:@%" else f"[{char}]" for char in text)


def _backend(route: Route, *, servers: bool) -> list[str]:
    http = route.protocol is RouteProtocol.HTTP
    options = server_options(route)
    return [
        f"backend {quoted(route.key)}",
        f"    mode {'http' if http else 'tcp'}",
        *(f"    {line}" for line in BALANCE[route.balance]),
        f"    timeout connect {_ms(route.connect_timeout_s)}",
        f"    retries {max(0, route.retries)}",
        *(_http_rules(route) if http else _tcp_timeouts(route)),
        *([f"    default-server {options}"] if options else []),
        *(_server(endpoint) for endpoint in route.endpoints if servers),
    ]


def _tcp_timeouts(route: Route) -> list[str]:
    return [f"    timeout tunnel {_ms(route.timeout_s)}"] if route.timeout_s else []


def _http_rules(route: Route) -> list[str]:
    name = quoted(route.key)
    sticky = (
        [
            f"    cookie {route.sticky_cookie} insert indirect nocache httponly dynamic",
            f"    dynamic-cookie-key {cookie_key(route)}",
        ]
        if route.sticky_cookie
        else []
    )
    stream = "{ status 101 } or { res.hdr(content-type) -m beg -i text/event-stream }"
    empty = f"{{ nbsrv({name}) eq 0 }} !{{ stopping }}"
    return [
        f"    timeout server {_ms(route.timeout_s or TIMEOUT_S)}",
        *sticky,
        # What a stranger says of its own origin is worth nothing; a proxy on a private address may say it.
        f"    acl trusted src {_PRIVATE}",
        f"    http-request del-header {_ORIGIN} -m reg unless trusted",
        "    option forwardfor",
        "    http-request set-header x-forwarded-proto http if !trusted or !{ req.hdr(x-forwarded-proto) -m found }",
        "    http-request set-header x-forwarded-host %[req.hdr(host)]"
        " if !trusted or !{ req.hdr(x-forwarded-host) -m found }",
        "    retry-on conn-failure empty-response",
        f"    http-request disable-l7-retry unless {{ method {_IDEMPOTENT} }}",
        f"    http-request set-timeout server {STREAM_IDLE_S}s if {{ req.hdr(accept) -m sub -i text/event-stream }}",
        f'    http-request return status 503 content-type text/plain string "{_none_ready(route)}"'
        f" hdr retry-after 1 if {empty}",
        f'    http-error status 503 content-type text/plain string "{_none_ready(route)}"',
        f'    http-error status 502 content-type text/plain string "{route.service} broke off its answer\\n"',
        f'    http-error status 504 content-type text/plain string "{route.service} did not answer in time\\n"',
        f"    http-response set-var(txn.fl_server) srv_name if {stream}",
        f"    http-response set-var(txn.fl_stream) str({name}/),concat(,txn.fl_server) if {stream}",
        f"    http-response track-sc1 var(txn.fl_stream) table {STREAMS_TABLE} if {stream}",
    ]


def _none_ready(route: Route) -> str:
    return f"no replica of {route.service} is ready\\n"


def _server(endpoint: Endpoint) -> str:
    # Draining is HAProxy's maintenance: its own drain still sends the holders of a sticky cookie there.
    out = " disabled" if endpoint.state is EndpointState.DRAIN else ""
    return f"    server {quoted(endpoint.replica_id)} {server_address(endpoint.address)} weight {endpoint.weight}{out}"


def _ms(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
