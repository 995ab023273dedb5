"""Routes → frontends: which rules are tried first, and every conflict in words."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fairlead.errors import RouterError
from fairlead.routers.haproxy.layout import frontends
from fairlead.routers.haproxy.state import Desired
from fairlead.routing import Address, Endpoint, Listen, Route
from fairlead.spec.model import RouteProtocol


def _route(service: str = "api", **options: Any) -> Route:
    listen = options.pop("listen", Listen(port=8080))
    return Route(project="shop", service=service, target=8000, listen=listen, **options)


def _desired(*routes: Route) -> Desired:
    return Desired({"shop": routes})


def _endpoint(**options: Any) -> Endpoint:
    return replace(Endpoint(replica_id="shop.api.1", address=Address(host="10.0.0.2", port=80)), **options)


def test_the_most_specific_rule_comes_first() -> None:
    routes = (
        _route("front"),
        _route("any", host="*.example.org"),
        _route("path", path="/api"),
        _route("deep", path="/api/v2/"),
        _route("host", host="a.example.org"),
        _route("both", host="a.example.org", path="/api"),
    )
    (frontend,) = frontends(_desired(*routes))
    assert [route.service for route in frontend.routes] == ["both", "host", "any", "deep", "path", "front"]


def test_one_frontend_an_address_sorted() -> None:
    listens = (Listen(port=81), Listen(port=80, host="127.0.0.1"), Listen(port=80, host="10.0.0.1"))
    found = frontends(_desired(*(_route(f"s{n}", listen=listen) for n, listen in enumerate(listens))))
    assert [frontend.name for frontend in found] == ["10.0.0.1-80", "127.0.0.1-80", "any-81"]


@pytest.mark.parametrize(
    ("routes", "words"),
    [
        ((_route("a"), _route("b")), "shop/a/8080 and shop/b/8080 both want"),
        ((_route("a", host="X.org"), _route("b", host="x.org")), "both want"),
        ((_route("a", path="/api/"), _route("b", path="/api")), "both want"),
        ((_route("a"), _route("b", protocol=RouteProtocol.TCP)), "both want"),
        ((_route("a"), _route("b", listen=Listen(port=8080, host="127.0.0.1"))), "both want"),
        ((_route("a"), _route("a")), "stated twice"),
        ((_route(protocol=RouteProtocol.UDP),), "no UDP"),
        ((_route(protocol=RouteProtocol.TCP, path="/x"),), "no host, path or cookie"),
        ((_route(balance="fastest"),), "unknown balance 'fastest'"),
        ((_route(host="a b"),), "host 'a b'"),
        ((_route(path='/"\n    bind *:1'),), "path"),
        ((_route(sticky_cookie="a;b"),), "sticky cookie"),
        ((_route(listen=Listen(port=80, host="nowhere")),), "not an IP address"),
        ((_route(endpoints=(_endpoint(address=Address(host="db", port=1)),)),), "'db' is not an IP address"),
        ((_route(endpoints=(_endpoint(weight=0),)),), "weight 0"),
        ((_route(endpoints=(_endpoint(), _endpoint())),), "names a replica twice"),
    ],
)
def test_what_cannot_be_is_refused_in_words(routes: tuple[Route, ...], words: str) -> None:
    with pytest.raises(RouterError, match=words):
        frontends(_desired(*routes))


def test_a_chosen_port_is_kept_and_keeps_the_key() -> None:
    ports = iter([4001, 4002])
    route = _route(listen=Listen(port=0))
    first = Desired().with_project("shop", [route], lambda host, taken: next(ports))
    again = first.with_project("shop", [replace(route, retries=1)], lambda host, taken: next(ports))
    assert [desired.listen(route).port for desired in (first, again)] == [4001, 4001]
    assert frontends(again)[0].routes[0].key == "shop/api/auto8000"
    assert again.with_project("shop", [], lambda host, taken: next(ports)) == Desired()
