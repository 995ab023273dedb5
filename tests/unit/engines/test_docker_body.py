"""The request that makes a container: each key of the file in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fairlead.engines.docker.attachments import attachments_of
from fairlead.engines.docker.body import body_of, ports_of
from fairlead.engines.docker.labels import identity_of, pre_stop_of
from fairlead.engines.docker.names import network_name, volume_name
from fairlead.errors import StartFailedError
from fairlead.observed import ReplicaSpec
from fairlead.rollout.volumes import is_exclusive
from fairlead.spec.model import (
    Deploy,
    Healthcheck,
    Hook,
    Logging,
    Mount,
    Port,
    Probe,
    ProbeKind,
    Probes,
    Project,
    Resources,
    Service,
    ServiceOptions,
)
from fairlead.spec.revision import revision_of

OLD, NEW = (1, 41), (1, 47)


def body(service: Service, api: tuple[int, int] = OLD, **top: Any) -> dict[str, Any]:
    project = Project(name="shop", working_dir="/", services={service.name: service}, **top)
    revision = revision_of(project, service)
    replica = ReplicaSpec(id="shop.api.7", project="shop", slot=2, generation=3, revision=revision)
    return body_of(replica, "scope", attachments_of(revision, "shop", api), api, network_mode=service.network_mode)


API = Service(name="api", image="api")


def test_identity_is_on_the_labels() -> None:
    hook = Hook(command=("sh", "-c", "x"), user="7", environment={"A": "b"})
    made = body(replace(API, pre_stop=(hook,), labels={"own": "label"}, expose=("9000", "9001-9002/tcp")))
    identity = identity_of(made["Labels"])
    assert identity is not None
    assert (identity.id, identity.service, identity.slot, identity.generation) == ("shop.api.7", "api", 2, 3)
    assert identity.ports == (9000, 9001, 9002)
    assert pre_stop_of(made["Labels"]) == (hook,)
    assert made["Labels"]["own"] == "label"
    assert made["Labels"]["fairlead.scope"] == "scope"
    assert not any(label.startswith("com.docker.compose") for label in made["Labels"])
    assert identity_of({"fairlead.replica": "x"}) is None


def test_silence_leaves_the_image_alone() -> None:
    made = body(API)
    for key in ("Cmd", "Entrypoint", "User", "WorkingDir", "Healthcheck", "StopSignal", "Hostname"):
        assert key not in made
    assert made["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert made["HostConfig"]["NetworkMode"] == "shop_default"
    assert body(replace(API, entrypoint=()))["Entrypoint"] == []


@pytest.mark.parametrize("protocol", ["udp", "sctp"])
def test_tcp_ports_are_the_routers_and_all_others_the_containers(protocol: str) -> None:
    ports = (Port(target=80, published=8080), Port(target=53, published=5353, protocol=protocol, host_ip="127.0.0.1"))
    made = body(replace(API, ports=ports))
    assert made["HostConfig"]["PortBindings"] == {f"53/{protocol}": [{"HostIp": "127.0.0.1", "HostPort": "5353"}]}
    assert set(made["ExposedPorts"]) == {"80/tcp", f"53/{protocol}"}
    assert ports_of(replace(API, ports=ports)) == (80,)
    probed = ServiceOptions(probes=Probes(liveness=Probe(kind=ProbeKind.HTTP, port=9999)))
    assert ports_of(replace(API, ports=ports, options=probed)) == (80, 9999)


@pytest.mark.parametrize(
    ("extra", "field", "value"),
    [
        ({"mem_limit": "64m"}, "Memory", 64 << 20),
        ({"memswap_limit": -1}, "MemorySwap", -1),
        ({"cpus": 1.5}, "NanoCpus", 1_500_000_000),
        ({"cpuset": "0,1"}, "CpusetCpus", "0,1"),
        ({"cpu_quota": "50ms"}, "CpuQuota", 50_000),
        ({"pids_limit": 5}, "PidsLimit", 5),
        ({"cap_add": ["NET_ADMIN"]}, "CapAdd", ["NET_ADMIN"]),
        ({"security_opt": ["no-new-privileges:true"]}, "SecurityOpt", ["no-new-privileges:true"]),
        ({"sysctls": ["net.core.somaxconn=7"]}, "Sysctls", {"net.core.somaxconn": "7"}),
        ({"dns": "9.9.9.9"}, "Dns", ["9.9.9.9"]),
        ({"extra_hosts": ["a=1.2.3.4", "b=::1"]}, "ExtraHosts", ["a:1.2.3.4", "b:::1"]),
        ({"extra_hosts": {"a": ["1.2.3.4", "5.6.7.8"]}}, "ExtraHosts", ["a:1.2.3.4", "a:5.6.7.8"]),
        ({"ipc": "host"}, "IpcMode", "host"),
        ({"shm_size": "1g"}, "ShmSize", 1 << 30),
        ({"storage_opt": {"size": "1G"}}, "StorageOpt", {"size": "1G"}),
        ({"blkio_config": {"weight": 300}}, "BlkioWeight", 300),
        (
            {"blkio_config": {"device_read_bps": [{"Path": "/dev/sda", "Rate": "1mb"}]}},
            "BlkioDeviceReadBps",
            [{"Path": "/dev/sda", "Rate": 1 << 20}],
        ),
        (
            {"devices": [{"source": "/dev/fuse", "target": "/dev/x", "permissions": "r"}]},
            "Devices",
            [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
        ),
        (
            {"devices": ["/dev/fuse"]},
            "Devices",
            [{"PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse", "CgroupPermissions": "rwm"}],
        ),
        ({"devices": ["vendor.com/gpu=0"]}, "DeviceRequests", [{"Driver": "cdi", "DeviceIDs": ["vendor.com/gpu=0"]}]),
    ],
)
def test_a_key_in_its_place(extra: dict[str, Any], field: str, value: Any) -> None:
    assert body(replace(API, extra=extra))["HostConfig"][field] == value


def test_gpus_are_device_requests() -> None:
    expected = [{"Driver": "", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}]
    assert body(replace(API, extra={"gpus": [{"count": -1}]}))["HostConfig"]["DeviceRequests"] == expected
    device = {"capabilities": ["gpu"], "driver": "nvidia", "device_ids": ["0"]}
    reserved = replace(API, deploy=Deploy(reservations=Resources(devices=(device,), memory_bytes=7)))
    host = body(reserved)["HostConfig"]
    assert host["DeviceRequests"][0]["DeviceIDs"] == ["0"]
    assert host["MemoryReservation"] == 7
    both = replace(API, extra={"gpus": [{"count": 1, "device_ids": ["0"]}]})
    with pytest.raises(StartFailedError):
        body(both)


def test_deploy_limits_win_over_the_old_keys() -> None:
    service = replace(API, extra={"mem_limit": "1g"}, deploy=Deploy(limits=Resources(memory_bytes=5, cpus=0.5)))
    host = body(service)["HostConfig"]
    assert (host["Memory"], host["NanoCpus"]) == (5, 500_000_000)


def test_logging_init_and_healthcheck() -> None:
    check = Healthcheck(test=("curl", "x"), interval_s=1.5, retries=4, start_interval_s=0.5)
    service = replace(API, init=True, logging=Logging(driver="journald", options={"tag": "x"}), healthcheck=check)
    made = body(service, NEW)
    assert made["HostConfig"]["Init"] is True
    assert made["HostConfig"]["LogConfig"] == {"Type": "journald", "Config": {"tag": "x"}}
    assert made["Healthcheck"]["Test"] == ["CMD", "curl", "x"]
    assert made["Healthcheck"]["Interval"] == 1_500_000_000
    assert made["Healthcheck"]["StartInterval"] == 500_000_000
    assert "StartInterval" not in body(service, OLD)["Healthcheck"]
    assert body(replace(API, healthcheck=Healthcheck(disable=True)))["Healthcheck"] == {"Test": ["NONE"]}


def test_several_networks_at_once_where_the_daemon_can() -> None:
    networks = {"a": {"mac_address": "02:42:ac:11:00:02"}, "b": {"priority": 5, "ipv4_address": "10.1.2.3"}}
    service = replace(API, networks=networks)
    old, new = body(service, OLD), body(service, NEW)
    assert list(old["NetworkingConfig"]["EndpointsConfig"]) == ["shop_b"]
    assert old["MacAddress"] == "02:42:ac:11:00:02"
    assert set(new["NetworkingConfig"]["EndpointsConfig"]) == {"shop_a", "shop_b"}
    assert new["NetworkingConfig"]["EndpointsConfig"]["shop_a"]["MacAddress"] == "02:42:ac:11:00:02"
    assert new["NetworkingConfig"]["EndpointsConfig"]["shop_b"]["IPAMConfig"] == {"IPv4Address": "10.1.2.3"}
    assert "MacAddress" not in new
    assert body(replace(API, network_mode="none"))["NetworkingConfig"] == {"EndpointsConfig": {}}


def test_what_a_daemon_is_too_old_for_is_refused() -> None:
    subpath = Mount(type="volume", source="data", target="/data", options={"volume": {"subpath": "x"}})
    with pytest.raises(StartFailedError, match=r"subpath needs version 1\.45"):
        body(replace(API, volumes=(subpath,)), OLD)
    (mount,) = body(replace(API, volumes=(subpath,)), NEW)["HostConfig"]["Mounts"]
    assert mount["VolumeOptions"] == {"Subpath": "x"}
    image = Mount(type="image", source="alpine", target="/data")
    with pytest.raises(StartFailedError, match=r"1\.48"):
        body(replace(API, volumes=(image,)), NEW)


def test_binds_that_may_be_made_and_binds_that_must_exist() -> None:
    plain = Mount(type="bind", source="/a", target="/b", read_only=True, options={"bind": {"create_host_path": True}})
    strict = Mount(type="bind", source="/c", target="/d", options={"bind": {"create_host_path": False}})
    odd = Mount(type="bind", source="/with:colon", target="/e", options={"bind": {"propagation": "rslave"}})
    host = body(replace(API, volumes=(plain, strict, odd)))["HostConfig"]
    assert host["Binds"] == ["/a:/b:ro"]
    assert [mount["Source"] for mount in host["Mounts"]] == ["/c", "/with:colon"]
    assert host["Mounts"][1]["BindOptions"] == {"Propagation": "rslave"}


def test_names_are_those_of_compose() -> None:
    resources = {
        "networks": {"own": {"name": "mine"}, "ext": {"external": True}, "old": {"external": {"name": "theirs"}}},
        "volumes": {"data": {}},
    }
    assert network_name("shop", "default", resources) == "shop_default"
    assert network_name("shop", "own", resources) == "mine"
    assert network_name("shop", "ext", resources) == "ext"
    assert network_name("shop", "old", resources) == "theirs"
    assert volume_name("shop", "data", resources) == "shop_data"


def test_a_fixed_place_can_be_had_once() -> None:
    assert is_exclusive(replace(API, networks={"a": {"ipv4_address": "10.0.0.7"}}))
    assert is_exclusive(replace(API, ports=(Port(target=53, published=53, protocol="udp"),)))
    assert is_exclusive(replace(API, ports=(Port(target=53, published=53, protocol="sctp"),)))
    assert not is_exclusive(replace(API, networks={"a": {}}, ports=(Port(target=53, published=53),)))
