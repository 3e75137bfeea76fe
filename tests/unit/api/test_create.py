from typing import Any

import pytest

from tiffin.api.container_json import config_json, host_config_json
from tiffin.api.create import read_create, read_host_config
from tiffin.api.versions import NEWEST, Version
from tiffin.core.container import BindOptions, HostConfig
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


def test_what_was_given_as_empty_is_shown_so_and_what_was_not_is_null() -> None:
    document = {"Image": "x", "HostConfig": {"Binds": [], "portbindings": {}, "Dns": None}}
    wanted = read_create(document, NEWEST)
    shown = host_config_json(wanted.host_config, wanted.given_empty)
    assert (list(shown["Binds"]), shown["PortBindings"]) == ([], {})
    assert (shown["Dns"], shown["Devices"], shown["CapAdd"]) == (None, None, None)


@pytest.mark.parametrize("field", ["Cgroup", "ContainerIDFile"])
def test_what_is_of_no_consequence_is_kept_and_shown(field: str) -> None:
    assert host_config_json(read_host_config({field: "some"}))[field] == "some"


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ({}, None),
        ({"Privileged": True}, ["label=disable"]),
        ({"PidMode": "host"}, ["label=disable"]),
        ({"IpcMode": "host", "SecurityOpt": ["no-new-privileges"]},
         ["no-new-privileges", "label=disable"]),
        ({"Privileged": True, "SecurityOpt": ["label=level:s0:c1"]}, ["label=level:s0:c1"]),
    ],
)  # fmt: skip
def test_who_shares_with_the_host_is_shown_without_a_label(
    document: dict[str, Any], shown: list[str] | None
) -> None:
    found = host_config_json(read_host_config(document))["SecurityOpt"]
    assert (found and list(found)) == shown


def test_the_default_network_is_told_by_its_name() -> None:
    assert host_config_json(read_host_config({}))["NetworkMode"] == "bridge"
    assert host_config_json(read_host_config({"NetworkMode": "host"}))["NetworkMode"] == "host"


def test_an_endpoint_on_the_default_network_leaves_the_mode_as_it_is() -> None:
    document = {"Image": "x", "NetworkingConfig": {"EndpointsConfig": {"bridge": {}}}}
    assert read_create(document, NEWEST).host_config.network_mode == "default"


def test_a_health_check_of_nothing_is_shown_where_it_was_given() -> None:
    given = read_create({"Image": "x", "Healthcheck": {}}, NEWEST).config
    assert config_json(given)["Healthcheck"] == {}
    assert "Healthcheck" not in config_json(read_create({"Image": "x"}, NEWEST).config)


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


@pytest.mark.parametrize("document", [{}, {"HostConfig": {}}, {"Colour": "red"}])
def test_a_config_must_say_something(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="config cannot be empty"):
        read_create(document, NEWEST)


def test_an_endpoint_names_the_network_and_its_mac_address() -> None:
    document = {
        "Image": "x",
        "NetworkingConfig": {"EndpointsConfig": {"none": {"MacAddress": "02:42:00:00:00:01"}}},
    }
    wanted = read_create(document, NEWEST)
    assert wanted.host_config.network_mode == "none"
    assert wanted.config.mac_address == "02:42:00:00:00:01"


def test_several_endpoints_are_refused_in_the_words_of_the_version() -> None:
    document = {"Image": "x", "NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}}
    with pytest.raises(InvalidArgument, match="network endpoints: a, b"):
        read_create(document, Version(1, 43))
    with pytest.raises(Unsupported):
        read_create(document, NEWEST)


def test_an_endpoint_of_nothing_is_refused_with_its_network() -> None:
    document = {"Image": "x", "NetworkingConfig": {"EndpointsConfig": {"bridge": None}}}
    with pytest.raises(InvalidArgument, match="network bridge: EndpointsConfig is nil"):
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


V139, V141, V143, V147, V151 = (Version(1, minor) for minor in (39, 41, 43, 47, 51))


def asked_mount(version: Version, mount: dict[str, Any]) -> Any:
    document = {"Image": "x", "HostConfig": {"Mounts": [mount]}}
    return read_create(document, version).host_config.mounts[0]


@pytest.mark.parametrize(
    ("version", "mount", "message"),
    [
        (NEWEST, {"Type": "volume", "Target": "/x", "BindOptions": {}},
         'BindOptions must not be specified on mount type "volume"'),
        (V143, {"Type": "bind", "BindOptions": {"ReadOnlyForceRecursive": True}},
         "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"),
        (V143, {"Type": "volume", "VolumeOptions": {"Subpath": "a"}},
         "VolumeOptions.Subpath needs API v1.45 or newer"),
        (V147, {"Type": "image", "Source": "x"},
         'Mount type "Image" needs API v1.48 or newer'),
    ],
)  # fmt: skip
def test_a_mount_is_refused_where_its_version_has_no_such_thing(
    version: Version, mount: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        asked_mount(version, mount)
    assert caught.value.message == message


def test_older_versions_drop_what_they_cannot_know() -> None:
    bind = {"Type": "bind", "BindOptions": {"NonRecursive": True, "CreateMountpoint": True}}
    assert asked_mount(V139, bind).bind_options == BindOptions()
    volume = {"Type": "bind", "VolumeOptions": {"NoCopy": True}}
    assert asked_mount(V141, volume).volume_options is None
    host = {"Annotations": {"a": "b"}, "ConsoleSize": [3, 4]}
    assert read_create({"Image": "x", "HostConfig": host}, V141).host_config == HostConfig()


def test_a_read_only_bind_was_shallow_once() -> None:
    assert read_create({"Image": "x"}, V143).shallow_read_only
    assert not read_create({"Image": "x"}, NEWEST).shallow_read_only


def test_ipc_was_shareable_by_default_once() -> None:
    assert read_create({"Image": "x"}, V139).host_config.ipc_mode == "shareable"


MAC, OTHER_MAC = "02:42:00:00:00:01", "02:42:00:00:00:02"


def with_mac(own: str) -> dict[str, Any]:
    return {"EndpointsConfig": {"bridge": {"MacAddress": own}}}


def test_the_container_wide_mac_address_has_gone() -> None:
    document = {"Image": "x", "MacAddress": MAC}
    with pytest.raises(InvalidArgument, match="MAC address no longer supported"):
        read_create(document, NEWEST)
    wanted = read_create(document, V151)
    assert wanted.config.mac_address == MAC
    assert "is now deprecated" in wanted.warnings[0]
    with pytest.raises(InvalidArgument, match="must match the endpoint-specific MAC address"):
        read_create({**document, "NetworkingConfig": with_mac(OTHER_MAC)}, V151)


def test_before_endpoints_had_a_mac_address_theirs_was_ignored() -> None:
    document = {"Image": "x", "NetworkingConfig": with_mac(OTHER_MAC)}
    assert read_create(document, V143).config.mac_address == ""
    assert read_create({**document, "MacAddress": MAC}, V143).config.mac_address == MAC
    with pytest.raises(InvalidArgument, match="mac-address and the network mode"):
        read_create({"Image": "x", "MacAddress": MAC, "HostConfig": {"NetworkMode": "host"}}, V143)


def test_a_sysctl_of_one_interface_belongs_to_its_endpoint() -> None:
    host = {"Sysctls": {"net.ipv4.conf.eth0.forwarding": "1"}}
    with pytest.raises(InvalidArgument, match="must be supplied using driver option"):
        read_create({"Image": "x", "HostConfig": host}, NEWEST)


def test_a_volume_driver_says_nothing_about_mounts() -> None:
    host = {"VolumeDriver": "local", "Mounts": [{"Type": "volume", "Target": "/x"}]}
    (warning,) = read_create({"Image": "x", "HostConfig": host}, NEWEST).warnings
    assert "the container-wide volume-driver configuration is ignored" in warning
    assert read_create({"Image": "x", "HostConfig": host}, V147).warnings == ()


def placed(settings: dict[str, Any]) -> dict[str, Any]:
    return {"Image": "x", "NetworkingConfig": {"EndpointsConfig": {"bridge": settings}}}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"IPAMConfig": {"IPv4Address": "1.2.3.4"}}, "user-specified IP address is supported on"),
        ({"IPAMConfig": {"LinkLocalIPs": ["x"]}}, "invalid link-local IP address: x"),
        ({"IPAMConfig": {"LinkLocalIPs": ["10.0.0.1"]}}, "invalid link local IP address: 10.0.0.1"),
        (
            {"IPAMConfig": {"LinkLocalIPs": ["fe80::1%1"]}},
            "invalid link local IP address: fe80::1",
        ),
        ({"IPAMConfig": {"LinkLocalIPs": ["fd00::1"]}}, "invalid link local IP address: fd00::1"),
        ({"IPAMConfig": "x"}, "of type network.EndpointIPAMConfig"),
        ({"Aliases": ["a"]}, "network-scoped aliases are only supported for user-defined"),
        ({"MacAddress": "nonsense"}, "invalid MAC address: nonsense"),
        (
            {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.core.somaxconn=1"}},
            "unrecognised network interface sysctl 'net.core.somaxconn=1'",
        ),
    ],
)
def test_an_endpoint_on_the_default_bridge_has_its_limits(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        read_create(placed(settings), NEWEST)


def test_an_endpoint_may_have_link_local_addresses() -> None:
    wanted = {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.2", "169.254.1.2", "fe80::1"]}}
    assert read_create(placed(wanted), NEWEST).link_local == ("169.254.1.2", "fe80::1")


def test_an_endpoints_sysctls_are_those_of_its_interface() -> None:
    options = {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}
    wanted = read_create(placed({"DriverOpts": options}), NEWEST)
    assert wanted.host_config.sysctls == {"net.ipv4.conf.eth0.log_martians": "1"}


@pytest.mark.parametrize(
    ("beside", "host", "runtime"),
    [("runc", {}, "runc"), ("runc", {"Runtime": "crun"}, "crun"), (None, {}, "")],
)
def test_a_runtime_that_is_said_beside_the_host_config_is_heard(
    beside: str | None, host: dict[str, str], runtime: str
) -> None:
    document = {"Image": "busybox", "Runtime": beside, "HostConfig": host}
    assert read_create(document, NEWEST).host_config.runtime == runtime
