from typing import Any

import pytest

from tiffin.api.container_json import UNSUPPORTED_HOST_FIELDS
from tiffin.api.create import read_create, read_host_config
from tiffin.api.versions import NEWEST, Version
from tiffin.errors import InvalidArgument, Unsupported

# What `docker run -d -p 8080:80 busybox` sends (docker CLI 28), null fields and all.
DOCKER_CLI: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
    "AttachStderr": False, "ExposedPorts": {"80/tcp": {}}, "Tty": False, "OpenStdin": False,
    "StdinOnce": False, "Env": None, "Cmd": None, "Image": "busybox", "Volumes": {},
    "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": {},
    "HostConfig": {
        "Binds": None, "ContainerIDFile": "/tmp/cid", "LogConfig": {"Type": "", "Config": {}},
        "NetworkMode": "default",
        "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": False,
        "VolumeDriver": "", "VolumesFrom": None, "ConsoleSize": [24, 80], "CapAdd": None,
        "CapDrop": None, "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [],
        "ExtraHosts": None, "GroupAdd": None, "IpcMode": "", "Cgroup": "", "Links": None,
        "OomScoreAdj": 0, "PidMode": "", "Privileged": False, "PublishAllPorts": False,
        "ReadonlyRootfs": False, "SecurityOpt": None, "UTSMode": "", "UsernsMode": "",
        "ShmSize": 0, "Isolation": "", "CpuShares": 0, "Memory": 0, "NanoCpus": 0,
        "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": [], "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [],
        "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0,
        "CpusetCpus": "", "CpusetMems": "", "Devices": [], "DeviceCgroupRules": None,
        "DeviceRequests": None, "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": -1,
        "OomKillDisable": False, "PidsLimit": 0, "Ulimits": [], "CpuCount": 0, "CpuPercent": 0,
        "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "MaskedPaths": None, "ReadonlyPaths": None,
    },
    "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": None, "Aliases": None}}},
}  # fmt: skip


def test_what_the_docker_cli_sends_is_understood() -> None:
    wanted = read_create(DOCKER_CLI, NEWEST)
    assert wanted.config.image == "busybox"
    assert wanted.host_config.port_bindings["80/tcp"][0].host_port == "8080"
    assert wanted.host_config.network_mode == "default"
    assert wanted.host_config.pids_limit is None


@pytest.mark.parametrize("field", sorted(UNSUPPORTED_HOST_FIELDS))
def test_a_field_that_is_not_obeyed_is_refused_by_name(field: str) -> None:
    with pytest.raises(Unsupported, match=f"HostConfig.{field} is not supported"):
        read_create({"Image": "x", "HostConfig": {field: ["something"]}}, NEWEST)


@pytest.mark.parametrize("field", sorted(UNSUPPORTED_HOST_FIELDS))
def test_such_a_field_is_fine_at_its_default(field: str) -> None:
    read_create({"Image": "x", "HostConfig": {field: None}}, NEWEST)


def test_a_number_that_go_could_not_hold_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidArgument, match=r"HostConfig\.CpuShares of type int64"):
        read_host_config({"CpuShares": 2**63})


def test_a_swappiness_of_minus_one_is_none_at_all() -> None:
    assert read_host_config({"MemorySwappiness": -1}).memory_swappiness is None
    assert read_host_config({"MemorySwappiness": 0}).memory_swappiness == 0


@pytest.mark.parametrize(
    "document",
    [
        {"Hostname": "a\n127.0.0.1 bank"},
        {"HostConfig": {"ExtraHosts": ["a:1.2.3.4\n6.6.6.6 b"]}},
        {"HostConfig": {"Dns": ["1.1.1.1\nsearch evil"]}},
        {"HostConfig": {"DnsSearch": ["a\rb"]}},
    ],
)
def test_nobody_smuggles_a_line_into_hosts_or_resolv_conf(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="control character"):
        read_create({"Image": "x"} | document, NEWEST)


def test_an_empty_request_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="cannot be empty"):
        read_create({}, NEWEST)


def test_an_endpoint_names_the_network_and_its_mac_address() -> None:
    document = {
        "Image": "x",
        "NetworkingConfig": {"EndpointsConfig": {"none": {"MacAddress": "02:42:00:00:00:01"}}},
    }
    wanted = read_create(document, NEWEST)
    assert wanted.host_config.network_mode == "none"
    assert wanted.config.mac_address == "02:42:00:00:00:01"


def test_several_endpoints_are_refused_in_the_words_of_the_version() -> None:
    document = {"Image": "x", "NetworkingConfig": {"EndpointsConfig": {"a": None, "b": None}}}
    with pytest.raises(InvalidArgument, match="network endpoints: a, b"):
        read_create(document, Version(1, 43))
    with pytest.raises(Unsupported):
        read_create(document, NEWEST)


@pytest.mark.parametrize(
    "document",
    [
        {"Image": "x", "HostConfig": []},
        {"Image": "x", "NetworkingConfig": "y"},
        {"Image": "x", "NetworkingConfig": {"EndpointsConfig": []}},
        {"Image": "x", "NetworkingConfig": {"EndpointsConfig": {"a": 3}}},
        {"Image": "x", "HostConfig": {"Memory": 2**70}},
    ],
)
def test_a_wrong_shape_is_a_400(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        read_create(document, NEWEST)


@pytest.mark.parametrize(("given", "kept"), [(0, None), (-1, -1), (5, 5)])
def test_no_limit_of_processes_is_asked_for_by_minus_one(given: int, kept: int | None) -> None:
    assert read_host_config({"PidsLimit": given}).pids_limit == kept
