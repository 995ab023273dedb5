"""Converters: from a canonical value to its type, or an error that says where it is and what was expected.

Used by `records`, whose tables say which key has which converter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fairlead.spec.numbers import (
    byte_count,
    duration_text,
    go_text,
    nanoseconds,
    single,
    to_boolean,
    to_float,
    to_integer,
)
from fairlead.spec.tree import Path, Timestamp, kind_of, plain
from fairlead.spec.words import split_words

Converter = Callable[[Any], Any]


class Field:
    """How one key is written. ``keep``: even when empty, but not null; ``always``: even when absent (``default``)."""

    __slots__ = ("always", "convert", "default", "keep")

    def __init__(self, convert: Converter, *, keep: bool = False, always: bool = False, default: Any = None) -> None:
        self.convert, self.keep, self.always, self.default = convert, keep, always, default


class Record:
    """A converter of mappings with known keys."""

    def __init__(self, fields: dict[str, Field]) -> None:
        self.fields = fields
        self._order = {key: index for index, key in enumerate(fields)}
        self._always = [key for key, field in fields.items() if field.always]

    def __call__(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ConversionError(f"expected a mapping, found a {kind_of(value)}", ())
        made: dict[str, Any] = {}
        given = [key for key in value if key in self._order]
        for key in sorted({*given, *self._always} if self._always else given, key=self._order.__getitem__):
            field, found = self.fields[key], value.get(key)
            if found is None:
                if field.always:
                    made[key] = field.default
                continue
            try:
                converted = field.convert(found)
            except ConversionError as error:
                raise error.below(key) from None
            except ValueError as error:
                raise ConversionError(str(error), (key,)) from None
            if converted or field.keep or field.always:
                made[key] = converted
        return made


class ConversionError(ValueError):
    """A value below is not of its type; ``path`` leads to it from the value that was converted."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.message, self.path = message, path

    def below(self, step: str) -> ConversionError:
        return ConversionError(self.message, (step, *self.path))


def text(value: Any) -> str:
    if isinstance(value, str) and not isinstance(value, Timestamp):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"expected a string, found a {kind_of(value)} ({go_text(value)}): write it in quotes")


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return to_boolean(value)
    raise ValueError(f"expected true or false, found {go_text(value)}")


def integer(value: Any) -> int:
    if isinstance(value, str):
        return to_integer(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value)
    raise ValueError(f"expected an integer, found {go_text(value)}")


def natural(value: Any) -> int:
    """An integer of 0 or more; text has been cast where a variable may stand."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return int(value)
    raise ValueError(f"expected an integer of 0 or more, found {go_text(value)}")


def number(value: Any) -> float:
    if isinstance(value, str):
        value = to_float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _shortest(single(value))
    raise ValueError(f"expected a number, found {go_text(value)}")


def _shortest(value: float) -> float:
    return int(value) if value == int(value) and abs(value) < 2**53 else value


def size(value: Any) -> str:
    """Bytes, printed as text; empty for zero."""
    if isinstance(value, str):
        amount = byte_count(value)
    else:
        amount = value if isinstance(value, int) and not isinstance(value, bool) else 0
    return str(amount) if amount else ""


def rate(value: Any) -> str:
    return size(value) or "0"


def duration(value: Any) -> str:
    return duration_text(nanoseconds(value))


def delay(value: Any) -> str:
    """A duration of which zero is the same as none."""
    return duration(value) if nanoseconds(value) else ""


def command(value: Any) -> list[str]:
    return split_words(value) if isinstance(value, str) else texts(value)


def check_command(value: Any) -> list[str]:
    return ["CMD-SHELL", value] if isinstance(value, str) else texts(value)


def texts(value: Any) -> list[str]:
    return list(_each(value, text))


def text_or_texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else texts(value)


def loose_texts(value: Any) -> list[str]:
    return [go_text(item) for item in value] if isinstance(value, list) else [text(value)]


def many(convert: Converter) -> Converter:
    def converter(value: Any) -> list[Any]:
        return list(_each(value, convert))

    return converter


def each(convert: Converter, *, nullable: bool = False) -> Converter:
    """A mapping with free keys, sorted as Compose prints them."""

    def converter(value: Any) -> dict[str, Any]:
        made = {}
        for key in sorted(value):
            try:
                made[key] = None if value[key] is None and nullable else convert(value[key])
            except ConversionError as error:
                raise error.below(key) from None
            except ValueError as error:
                raise ConversionError(str(error), (key,)) from None
        return made

    return converter


def _each(value: Any, convert: Converter) -> Iterable[Any]:
    if not isinstance(value, list):
        raise ConversionError(f"expected a list, found a {kind_of(value)}", ())
    for index, item in enumerate(value):
        try:
            yield convert(item)
        except ConversionError as error:
            raise error.below(f"[{index}]") from None
        except ValueError as error:
            raise ConversionError(str(error), (f"[{index}]",)) from None


def pairs(value: Any) -> dict[str, str | None]:
    """Environment variables and build arguments: null is a name without a value."""
    if isinstance(value, dict):
        return {key: None if value[key] is None else go_text(value[key]) for key in sorted(value)}
    found: dict[str, str | None] = {}
    for entry in value:
        key, separator, rest = go_text(entry).partition("=")
        found[key] = rest if separator else None
    return dict(sorted(found.items()))


def labels(value: Any) -> dict[str, str]:
    return {key: item or "" for key, item in pairs(value).items()}


def hosts(value: Any) -> list[str]:
    """``name=address``, one entry an address, sorted."""
    found: list[tuple[str, str]] = []
    if isinstance(value, dict):
        for name, addresses in value.items():
            listed = addresses if isinstance(addresses, list) else [addresses or ""]
            found.extend((name, go_text(address)) for address in listed)
    else:
        for entry in value:
            found.extend(_host(go_text(entry)))
    for name, _ in found:
        if not name or ":" in name or "=" in name:
            raise ValueError(f"{name!r} is not a host name: write name=address")
    return sorted(f"{name}={_without_brackets(address)}" for name, address in found)


def _host(entry: str) -> list[tuple[str, str]]:
    separator = "=" if "=" in entry else ":"
    name, found, addresses = entry.partition(separator)
    if not found:
        raise ValueError(f"{entry!r} has no address: write name=address")
    return [(name, address) for address in addresses.split(",")]


def _without_brackets(address: str) -> str:
    return address[1:-1] if len(address) > 2 and address[0] == "[" and address[-1] == "]" else address


def ulimit(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(value[key]) for key in ("soft", "hard") if value.get(key)}
    return _whole(value) or {}


def _whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"expected an integer, found {go_text(value)}")


def device_count(value: Any) -> int:
    if isinstance(value, str):
        return -1 if value.lower() == "all" else to_integer(value)
    return _whole(value)


def ssh_keys(value: Any) -> list[Any]:
    return [key if not value[key] else f"{key}={go_text(value[key])}" for key in sorted(value)]


def raw(value: Any) -> Any:
    return plain(value)


def provider_options(value: Any) -> dict[str, list[str]]:
    return {
        key: loose_texts(value[key]) if isinstance(value[key], list) else [go_text(value[key])] for key in sorted(value)
    }


def env_files(value: Any) -> list[Any]:
    """As the service's hash wants them: the path alone when the file is required."""
    found: list[Any] = []
    for entry in value:
        shown = {"path": entry["path"], "required": boolean(entry.get("required", True))}
        if entry.get("format"):
            shown["format"] = entry["format"]
        found.append(shown["path"] if shown["required"] else shown)
    return found
