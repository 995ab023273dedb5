"""The configuration's text: what belongs to the structure, and what is left to the Runtime API."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from msgspec.structs import replace

from fairlead.routers.haproxy.files import Files
from fairlead.routers.haproxy.layout import frontends
from fairlead.routers.haproxy.render import Environment, config, fingerprint, hold_map
from fairlead.routers.haproxy.state import Desired
from fairlead.routing import Address, Endpoint, EndpointState, Listen, Route
from fairlead.spec.model import RouteProtocol

_FILES = Files(Path("/home/a b/haproxy"), Path("/run/fl"))
_PLACE = Environment(files=_FILES, max_connections=1000, dual_stack=True, drop_to=(65534, 65534))
_ONE = Endpoint(replica_id="shop.api.1", address=Address(host="10.0.0.2", port=80), weight=7)
_TWO = Endpoint(replica_id="shop api/2", address=Address(host="fd00::2", port=80), state=EndpointState.DRAIN)
_ROUTE = Route(project="shop", service="api", target=8000, listen=Listen(port=8080), endpoints=(_ONE, _TWO))


def _text(route: Route) -> str:
    return config(frontends(Desired({"shop": (route,)})), _PLACE)


def _mark(route: Route, place: Environment = _PLACE) -> str:
    return fingerprint(frontends(Desired({"shop": (route,)})), place)


def test_servers_are_written_with_their_state_so_that_they_survive_a_reload() -> None:
    lines = [line.strip() for line in _text(_ROUTE).splitlines()]
    assert "server shop.api.1 10.0.0.2:80 weight 7" in lines
    assert "server shop:20api:2f2 [fd00::2]:80 weight 100 disabled" in lines


def test_the_fingerprint_stands_in_the_configuration() -> None:
    assert f'description "fairlead {_mark(_ROUTE)}"' in _text(_ROUTE)


@pytest.mark.parametrize(
    "changed",
    [
        replace(_ROUTE, endpoints=()),
        replace(_ROUTE, endpoints=(replace(_ONE, weight=9), replace(_TWO, state=EndpointState.READY))),
        replace(_ROUTE, hold_timeout_s=1.0),
    ],
)
def test_what_changes_at_run_time_is_no_part_of_the_structure(changed: Route) -> None:
    assert _mark(changed) == _mark(_ROUTE)


@pytest.mark.parametrize(
    "changed",
    [
        replace(_ROUTE, listen=Listen(port=8081)),
        replace(_ROUTE, host="example.org"),
        replace(_ROUTE, path="/api"),
        replace(_ROUTE, balance="source"),
        replace(_ROUTE, sticky_cookie="fl"),
        replace(_ROUTE, retries=1),
        replace(_ROUTE, timeout_s=5.0),
        replace(_ROUTE, send_proxy=True),
        replace(_ROUTE, protocol=RouteProtocol.TCP),
    ],
)
def test_everything_else_is(changed: Route) -> None:
    assert _mark(changed) != _mark(_ROUTE)


def test_the_place_is_part_of_the_structure() -> None:
    assert _mark(_ROUTE, dataclasses.replace(_PLACE, max_connections=2000)) != _mark(_ROUTE)


def test_holding_times_are_a_map_by_backend() -> None:
    wanted = frontends(Desired({"shop": (replace(_ROUTE, hold_timeout_s=1.5),)}))
    assert hold_map(wanted) == {"shop:2fapi:2f8080": "1500"}


def test_only_idempotent_requests_are_repeated() -> None:
    assert "http-request disable-l7-retry unless { method GET HEAD OPTIONS TRACE PUT DELETE }" in _text(_ROUTE)


def test_every_address_means_both_families() -> None:
    assert "    bind *:8080\n    bind :::8080 v6only\n    bind abns@" in _text(_ROUTE)
    assert "    bind [::1]:8080\n" in _text(replace(_ROUTE, listen=Listen(port=8080, host="::1")))
    only_four = config(frontends(Desired({"shop": (_ROUTE,)})), dataclasses.replace(_PLACE, dual_stack=False))
    assert "v6only" not in only_four


def test_a_worker_that_was_replaced_passes_on_what_still_arrives() -> None:
    text = _text(_ROUTE)
    assert "    use_backend fl-again-any-8080 if { stopping }\n    use_backend %[var(txn.fl_route)]" in text
