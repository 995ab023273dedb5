"""Give every canonical value its type and its place: the tree that ``docker compose config --format json`` prints.

Called by the loader last, on the normalized tree. The tables say for each key in which order it is printed, how its
value becomes its type, and when it is left out: Compose omits what is empty, except where null or zero means
something. A value that is not of its type is reported.
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
from fairlead.spec.report import Report
from fairlead.spec.tree import Map, Path, Timestamp, kind_of, place, plain
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


def _fields(convert: Converter, names: str, **how: Any) -> dict[str, Field]:
    return {name: Field(convert, **how) for name in names.split()}


def _ordered(order: str, *parts: dict[str, Field]) -> Record:
    known: dict[str, Field] = {}
    for part in parts:
        known |= part
    return Record({name: known[name] for name in order.split()})


DEVICE_REQUEST = Record(
    {
        "capabilities": Field(texts),
        "driver": Field(text),
        "count": Field(device_count),
        "device_ids": Field(texts),
        "options": Field(labels),
    }
)
FILE_USE = Record(_fields(text, "source target uid gid") | _fields(natural, "mode", keep=True))
HOOK = Record(
    {
        "command": Field(command, always=True),
        "image": Field(text),
        "user": Field(text),
        "privileged": Field(boolean),
        "working_dir": Field(text),
        "environment": Field(pairs),
        "per_replica": Field(boolean),
    }
)
BUILD = Record(
    {
        **_fields(text, "context dockerfile dockerfile_inline"),
        "entitlements": Field(texts),
        "args": Field(pairs),
        "ssh": Field(ssh_keys),
        "labels": Field(labels),
        **_fields(text_or_texts, "cache_from cache_to"),
        "no_cache": Field(boolean),
        "no_cache_filter": Field(text_or_texts),
        "additional_contexts": Field(labels),
        "pull": Field(boolean),
        "extra_hosts": Field(hosts),
        **_fields(text, "isolation network target"),
        "secrets": Field(many(FILE_USE)),
        "shm_size": Field(size),
        "tags": Field(text_or_texts),
        "ulimits": Field(each(ulimit)),
        "platforms": Field(text_or_texts),
        "privileged": Field(boolean),
        **_fields(go_text, "provenance sbom"),
    }
)
UPDATE = Record(
    {
        "parallelism": Field(natural, keep=True),
        "delay": Field(delay),
        "failure_action": Field(text),
        "monitor": Field(delay),
        "max_failure_ratio": Field(number),
        "order": Field(text),
    }
)
RESOURCE = Record(
    {
        "cpus": Field(number),
        "memory": Field(size),
        "pids": Field(integer),
        "devices": Field(many(DEVICE_REQUEST)),
        "generic_resources": Field(
            many(
                Record(
                    {
                        "discrete_resource_spec": Field(
                            Record(
                                {
                                    "kind": Field(text, always=True, default=""),
                                    "value": Field(integer, always=True, default=0),
                                }
                            ),
                            keep=True,
                        )
                    }
                )
            )
        ),
    }
)
DEPLOY = Record(
    {
        "mode": Field(text),
        "replicas": Field(integer, keep=True),
        "labels": Field(labels),
        "update_config": Field(UPDATE, keep=True),
        "rollback_config": Field(UPDATE, keep=True),
        "resources": Field(
            Record({"limits": Field(RESOURCE, keep=True), "reservations": Field(RESOURCE, keep=True)}),
            always=True,
            default={},
        ),
        "restart_policy": Field(
            Record(
                {
                    "condition": Field(text),
                    "delay": Field(duration, keep=True),
                    "max_attempts": Field(natural, keep=True),
                    "window": Field(duration, keep=True),
                }
            ),
            keep=True,
        ),
        "placement": Field(
            Record(
                {
                    "constraints": Field(texts),
                    "preferences": Field(many(Record(_fields(text, "spread")))),
                    "max_replicas_per_node": Field(natural),
                }
            ),
            always=True,
            default={},
        ),
        "endpoint_mode": Field(text),
    }
)
HEALTHCHECK = Record(
    {
        "test": Field(check_command),
        "timeout": Field(duration, keep=True),
        "interval": Field(duration, keep=True),
        "retries": Field(natural, keep=True),
        "start_period": Field(duration, keep=True),
        "start_interval": Field(duration, keep=True),
        "disable": Field(boolean),
    }
)
_THROTTLE = Record({"path": Field(text, always=True, default=""), "rate": Field(rate, always=True, default="0")})
_WEIGHT = Record({"path": Field(text, always=True, default=""), "weight": Field(natural, always=True, default=0)})


def _capital(convert: Converter) -> Converter:
    """Compose prints these two records with the names of its own variables."""
    return lambda value: {key.capitalize(): item for key, item in convert(value).items()}


BLKIO = Record(
    {
        "weight": Field(natural),
        "weight_device": Field(many(_capital(_WEIGHT))),
        **_fields(many(_capital(_THROTTLE)), "device_read_bps device_read_iops device_write_bps device_write_iops"),
    }
)
WATCH = Record(
    {
        "path": Field(text, always=True, default=""),
        "action": Field(text, always=True, default=""),
        "target": Field(text),
        "exec": Field(HOOK, always=True, default={"command": None}),
        "include": Field(text_or_texts),
        "ignore": Field(text_or_texts),
        "initial_sync": Field(boolean),
    }
)
MOUNT = Record(
    {
        **_fields(text, "type source target"),
        "read_only": Field(boolean),
        "consistency": Field(text),
        "bind": Field(
            Record(
                {
                    **_fields(text, "selinux propagation"),
                    "create_host_path": Field(boolean),
                    "recursive": Field(text),
                }
            ),
            keep=True,
        ),
        "volume": Field(Record({"labels": Field(labels), "nocopy": Field(boolean), "subpath": Field(text)}), keep=True),
        "tmpfs": Field(Record({"size": Field(size), "mode": Field(natural)}), keep=True),
        "image": Field(Record(_fields(text, "subpath")), keep=True),
    }
)
PORT = Record(
    {
        **_fields(text, "name mode host_ip"),
        "target": Field(natural),
        **_fields(text, "published protocol app_protocol"),
    }
)
SERVICE_NETWORK = Record(
    {
        **_fields(integer, "priority gw_priority"),
        "aliases": Field(texts),
        **_fields(text, "interface_name ipv4_address ipv6_address"),
        "link_local_ips": Field(texts),
        "mac_address": Field(text),
        "driver_opts": Field(labels),
    }
)
DEPENDENCY = Record(
    {
        "condition": Field(text),
        "restart": Field(boolean),
        "required": Field(boolean, always=True, default=False),
    }
)


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


SERVICE = _ordered(
    "profiles annotations attach build develop blkio_config cap_add cap_drop cgroup_parent cgroup cpu_count "
    "cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpus cpuset cpu_shares command configs "
    "container_name credential_spec depends_on deploy device_cgroup_rules devices dns dns_opt dns_search domainname "
    "entrypoint provider environment env_file expose extends external_links extra_hosts group_add gpus hostname "
    "healthcheck image init ipc isolation labels links logging mem_limit mem_reservation memswap_limit mem_swappiness "
    "mac_address models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform ports pre_start "
    "privileged pull_policy pull_refresh_after read_only restart runtime scale secrets security_opt shm_size "
    "stdin_open stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode "
    "uts volumes volumes_from working_dir post_start pre_stop",
    _fields(
        text,
        "cgroup_parent cgroup cpuset container_name domainname hostname image ipc isolation mac_address network_mode "
        "pid platform pull_policy pull_refresh_after restart runtime stop_signal user userns_mode uts working_dir",
    ),
    _fields(
        integer,
        "cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares oom_score_adj pids_limit",
    ),
    _fields(boolean, "oom_kill_disable privileged read_only stdin_open tty use_api_socket"),
    _fields(boolean, "attach init", keep=True),
    _fields(number, "cpu_percent cpus"),
    _fields(size, "mem_limit mem_reservation memswap_limit mem_swappiness shm_size"),
    _fields(
        texts,
        "profiles cap_add cap_drop device_cgroup_rules dns_opt external_links group_add links security_opt "
        "volumes_from",
    ),
    _fields(text_or_texts, "dns dns_search tmpfs"),
    _fields(labels, "annotations labels sysctls"),
    _fields(command, "command entrypoint", always=True),
    _fields(many(FILE_USE), "configs secrets"),
    _fields(many(HOOK), "pre_start post_start pre_stop"),
    {
        "build": Field(BUILD, keep=True),
        "develop": Field(Record({"watch": Field(many(WATCH))}), keep=True),
        "blkio_config": Field(BLKIO, keep=True),
        "credential_spec": Field(Record(_fields(text, "config file registry")), keep=True),
        "depends_on": Field(each(DEPENDENCY)),
        "deploy": Field(DEPLOY, keep=True),
        "devices": Field(many(Record(_fields(text, "source target permissions")))),
        "environment": Field(pairs),
        "env_file": Field(env_files),
        "expose": Field(loose_texts),
        "extends": Field(Record(_fields(text, "file service")), keep=True),
        "extra_hosts": Field(hosts),
        "gpus": Field(many(DEVICE_REQUEST)),
        "healthcheck": Field(HEALTHCHECK, keep=True),
        "logging": Field(Record({"driver": Field(text), "options": Field(labels)}), keep=True),
        "models": Field(each(Record(_fields(text, "endpoint_var model_var")), nullable=True)),
        "networks": Field(each(SERVICE_NETWORK, nullable=True)),
        "ports": Field(many(PORT)),
        "provider": Field(Record({"type": Field(text), "options": Field(provider_options)}), keep=True),
        "scale": Field(integer, keep=True),
        "stop_grace_period": Field(duration, keep=True),
        "storage_opt": Field(each(lambda value: "" if value is None else text(value))),
        "ulimits": Field(each(ulimit, nullable=True)),
        "volumes": Field(many(MOUNT)),
    },
)
_POOL = Record(_fields(text, "subnet gateway ip_range") | _fields(labels, "aux_addresses"))
NETWORK = Record(
    {
        **_fields(text, "name driver"),
        "driver_opts": Field(labels),
        "ipam": Field(Record({"driver": Field(text), "config": Field(many(_POOL))}), always=True, default={}),
        **_fields(boolean, "external internal attachable"),
        "labels": Field(labels),
        **_fields(boolean, "enable_ipv4 enable_ipv6", keep=True),
    }
)
VOLUME = Record(
    {
        **_fields(text, "name driver"),
        "driver_opts": Field(labels),
        "external": Field(boolean),
        "labels": Field(labels),
    }
)
FILE_OBJECT = Record(
    {
        **_fields(text, "name file environment content"),
        "external": Field(boolean),
        "labels": Field(labels),
        "driver": Field(text),
        "driver_opts": Field(each(text)),
        "template_driver": Field(text),
    }
)
MODEL = Record(
    {
        **_fields(text, "name model"),
        "context_size": Field(integer),
        "runtime_flags": Field(texts),
    }
)


def _without_variable_content(value: Any) -> dict[str, Any]:
    """A config made of a variable is printed without the variable's value."""
    made = FILE_OBJECT(value)
    if made.get("environment"):
        made.pop("content", None)
    return made


_KINDS: dict[str, Converter] = {
    "services": SERVICE,
    "networks": NETWORK,
    "volumes": VOLUME,
    "secrets": FILE_OBJECT,
    "configs": _without_variable_content,
    "models": MODEL,
}


def with_types(model: Map, report: Report) -> dict[str, dict[str, dict[str, Any]]]:
    """Every service and resource of ``model`` with its types, by kind and name."""
    typed: dict[str, dict[str, dict[str, Any]]] = {}
    for kind, record in _KINDS.items():
        typed[kind] = {}
        for name, entry in sorted((model.get(kind) or {}).items()):
            converted = _entry(record, entry if entry is not None else Map(), (kind, name), report)
            if converted is not None:
                typed[kind][name] = converted
    return typed


def _entry(record: Converter, entry: Any, path: Path, report: Report) -> dict[str, Any] | None:
    """Convert; after an error, drop the key that is wrong and look for the next one."""
    while True:
        try:
            made: dict[str, Any] = record(entry)
            return made
        except ConversionError as error:
            at = place(entry, error.path)
            report.problem(error.message, at, (*path, *error.path), "")
            if not isinstance(entry, Map) or error.path[0] not in entry:
                return None
            del entry[error.path[0]]
