"""The tables of Compose's records: for each key its place, its converter, and when it is left out.

Used by `typed`. Compose omits what is empty, except where null or zero means something.
"""

from __future__ import annotations

from typing import Any

from fairlead.spec.convert import (
    Converter,
    Field,
    Record,
    boolean,
    check_command,
    command,
    delay,
    device_count,
    duration,
    each,
    env_files,
    hosts,
    integer,
    labels,
    loose_texts,
    many,
    natural,
    number,
    pairs,
    provider_options,
    rate,
    size,
    ssh_keys,
    text,
    text_or_texts,
    texts,
    ulimit,
)
from fairlead.spec.numbers import go_text


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
