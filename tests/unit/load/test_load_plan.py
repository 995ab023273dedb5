"""The mix keeps its shares; a plan that makes no sense is refused."""

from collections import Counter
from itertools import islice

import pytest

from fairlead.load import App, LoadPlan, Mix
from fairlead.load.plan import Kind


def test_a_mix_keeps_its_shares_evenly() -> None:
    mix = Mix(keep_alive=70, fresh=15, post=13, slow=2)
    counted = Counter(islice(mix.sequence(), 1000))
    assert counted == {Kind.KEEP_ALIVE: 700, Kind.FRESH: 150, Kind.POST: 130, Kind.SLOW: 20}
    first_half = Counter(islice(mix.sequence(), 500))
    assert first_half[Kind.SLOW] == 10


def test_a_share_of_zero_is_never_sent() -> None:
    assert set(islice(Mix(keep_alive=1, fresh=0, post=1, slow=0).sequence(), 100)) == {Kind.KEEP_ALIVE, Kind.POST}


@pytest.mark.parametrize("mix", [Mix(keep_alive=0, fresh=0, post=0, slow=0), Mix(keep_alive=-1)])
def test_a_mix_of_nothing_is_refused(mix: Mix) -> None:
    with pytest.raises(ValueError, match="shares of a mix"):
        next(mix.sequence())


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "127.0.0.1:80", "https://127.0.0.1/", "http:///path"])
def test_only_plain_http_is_understood(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://"):
        LoadPlan(url=url)


def test_an_unknown_application_gets_no_posts() -> None:
    with pytest.raises(ValueError, match="GET requests only"):
        LoadPlan(url="http://127.0.0.1/", app=App.ANY)


def test_the_parts_of_an_address() -> None:
    plan = LoadPlan(url="http://127.0.0.1:8080/shop/?q=1")
    assert (plan.host, plan.port, plan.base, plan.target) == ("127.0.0.1", 8080, "/shop", "/shop/?q=1")
