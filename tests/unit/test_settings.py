from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fairlead import settings
from fairlead.errors import UsageError
from fairlead.settings import SOCKET_PATH_LIMIT_BYTES, Settings


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        ({"HOME": "/h", "XDG_STATE_HOME": "/x", "FAIRLEAD_HOME": "/f/../g"}, "/g"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x"}, "/x/fairlead"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x", "FAIRLEAD_HOME": ""}, "/x/fairlead"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, "/h/.local/state/fairlead"),
        ({"HOME": "/h"}, "/h/.local/state/fairlead"),
        ({"HOME": "/h", "FAIRLEAD_HOME": "~/state"}, "/h/state"),
    ],
)
def test_home_is_the_first_that_is_set(environ: dict[str, str], home: str) -> None:
    assert Settings.from_environ(environ).home == Path(home)


def test_a_relative_home_starts_where_the_command_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.from_environ({"FAIRLEAD_HOME": "state"}).home == tmp_path / "state"


def test_an_empty_environment_has_a_home_and_the_defaults() -> None:
    found = Settings.from_environ({})
    assert found.home.is_absolute()
    assert (found.log_level, found.haproxy, found.engine) == ("info", None, None)


def test_every_variable_is_read(tmp_path: Path) -> None:
    program = tmp_path / "haproxy"
    program.touch(mode=0o755)
    environ = {"FAIRLEAD_LOG_LEVEL": "DEBUG", "FAIRLEAD_HAPROXY": str(program), "FAIRLEAD_ENGINE": "docker"}
    found = Settings.from_environ(environ)
    assert (found.log_level, found.haproxy, found.engine) == ("debug", program, "docker")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FAIRLEAD_LOG_LEVEL", "loud"),
        ("FAIRLEAD_ENGINE", "systemd"),
        ("FAIRLEAD_HAPROXY", "haproxy"),
        ("FAIRLEAD_HAPROXY", "/no/such/program"),
        ("FAIRLEAD_HAPROXY", "/etc/passwd"),
        ("FAIRLEAD_HAPROXY", "/"),
        ("FAIRLEAD_HOME", "/a\nb"),
    ],
)
def test_a_bad_value_names_the_variable_and_the_fix(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        Settings.from_environ({name: value})
    assert caught.value.hint
    assert name in caught.value.hint or "unset it" in caught.value.hint


def test_directories_are_private(tmp_path: Path) -> None:
    found = Settings(home=tmp_path / "a" / "state")
    found.prepare()
    found.prepare()
    assert stat.S_IMODE(found.home.stat().st_mode) == 0o700
    assert found.socket_path == found.home / "controller.sock"
    assert {found.database_path.parent, found.log_path.parent} == {found.home}


def test_a_socket_path_that_would_not_fit_is_short_private_and_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = tmp_path / "short"
    monkeypatch.setattr(settings, "_short_directory", lambda: short)
    longest = SOCKET_PATH_LIMIT_BYTES - len("/controller.sock")
    fits = Path("/" + "h" * (longest - 1))
    assert Settings(home=fits).socket_path == fits / "controller.sock"
    assert Settings(home=Path(f"{fits}h")).socket_path.parent == short

    home = tmp_path / ("ü" * 60) / ("x" * 60)
    found = Settings(home=home)
    found.prepare()
    assert found.socket_path.parent == short
    assert found.socket_path == Settings(home=home).socket_path
    assert found.socket_path != Settings(home=home / "other").socket_path
    assert stat.S_IMODE(short.stat().st_mode) == 0o700


@pytest.mark.parametrize("trap", ["open to others", "a link", "a file"])
def test_a_socket_directory_that_others_control_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    short = tmp_path / "short"
    monkeypatch.setattr(settings, "_short_directory", lambda: short)
    match trap:
        case "open to others":
            short.mkdir()
            short.chmod(0o777)
        case "a link":
            short.symlink_to(tmp_path)
        case "a file":
            short.touch()
    with pytest.raises(UsageError, match="short") as caught:
        Settings(home=tmp_path / ("x" * 120)).prepare()
    assert caught.value.hint is not None
    assert "FAIRLEAD_HOME" in caught.value.hint


def test_a_home_that_cannot_be_used_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="file") as caught:
            Settings(home=home).prepare()
        assert caught.value.hint is not None
        assert "FAIRLEAD_HOME" in caught.value.hint


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_home_of_another_user_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)
    with pytest.raises(UsageError, match="another user"):
        Settings(home=home).prepare()
