"""Ports of a container that exists: added, taken away, and what its record says then."""

from __future__ import annotations

import pytest

from tiffin.core.container import HostConfig, PortBinding, PublishedPort
from tiffin.core.image import ContainerConfig
from tiffin.core.publishing import Publishing, Removal, replaced
from tiffin.errors import InvalidArgument


def binding(port: str = "", address: str = "") -> PortBinding:
    return PortBinding(address, port)


def tcp(inside: int, outside: int, address: str = "0.0.0.0") -> PublishedPort:
    return PublishedPort(inside, "tcp", address, outside)


HOST = HostConfig(
    port_bindings={
        "80/tcp": (binding("8080"), binding("9000-9010"), binding("", "127.0.0.1")),
        "53/udp": (binding("5353"),),
    }
)
IN_FORCE = (
    tcp(80, 8080),
    tcp(80, 9003),
    tcp(80, 32768, "127.0.0.1"),
    PublishedPort(53, "udp", "0.0.0.0", 5353),
)


def test_what_is_added_stands_beside_what_there_was() -> None:
    wanted = Publishing({"80": (binding("8081"),), "81/tcp": ()})
    found = replaced(ContainerConfig(), HOST, IN_FORCE, wanted, "web")
    assert found.kept == IN_FORCE
    assert found.added == ((tcp(80, 8081), 0), (tcp(81, 0), 0))
    assert found.host_config.port_bindings == {
        "80/tcp": (*HOST.port_bindings["80/tcp"], binding("8081")),
        "53/udp": (binding("5353"),),
        "81/tcp": (binding(),),
    }


@pytest.mark.parametrize(
    ("removal", "gone", "left"),
    [
        (Removal("8080"), (0,), (1, 2)),
        (Removal("9003"), (1,), (0, 2)),
        (Removal("32768", "80"), (2,), (0, 1)),
        (Removal("", "80"), (0, 1, 2), ()),
        (Removal("", "", "127.0.0.1"), (2,), (0, 1)),
        (Removal("8080", "80/tcp", "0.0.0.0"), (0,), (1, 2)),
    ],
)
def test_a_removal_takes_the_port_and_its_binding(
    removal: Removal, gone: tuple[int, ...], left: tuple[int, ...]
) -> None:
    wanted = Publishing(publish_remove=(removal,))
    found = replaced(ContainerConfig(), HOST, IN_FORCE, wanted, "web")
    assert found.removed == tuple(IN_FORCE[at] for at in gone)
    bindings = HOST.port_bindings["80/tcp"]
    assert found.host_config.port_bindings.get("80/tcp", ()) == tuple(bindings[at] for at in left)
    assert found.host_config.port_bindings["53/udp"] == (binding("5353"),)


def test_of_a_container_that_does_not_run_the_wish_is_removed() -> None:
    wanted = Publishing(publish_remove=(Removal("9000-9010", "80"), Removal("", "53/udp")))
    found = replaced(ContainerConfig(), HOST, (), wanted, "web")
    assert found.removed == ()
    assert found.host_config.port_bindings == {
        "80/tcp": (binding("8080"), binding("", "127.0.0.1"))
    }


@pytest.mark.parametrize("in_force", [(), IN_FORCE])
@pytest.mark.parametrize(
    ("removal", "words"),
    [
        (Removal("8081"), "container web does not publish port 8081"),
        (Removal("8080", "81"), "container web does not publish port 8080 for 81"),
        (Removal("8080", "80/udp"), "does not publish port 8080 for 80/udp"),
        (Removal("80", "/tcp"), "does not publish port 80/tcp"),
        (Removal("", "81", "127.0.0.1"), "does not publish any port of 127.0.0.1 for 81"),
        (Removal("8080", "80/sctp"), "invalid proto: sctp"),
        (Removal("many"), "invalid port specification"),
        (Removal(), "names no port"),
        (Removal("8080", "", "nowhere"), "invalid IP address"),
    ],
)
def test_what_is_not_published_is_named(
    in_force: tuple[PublishedPort, ...], removal: Removal, words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        replaced(ContainerConfig(), HOST, in_force, Publishing(publish_remove=(removal,)), "web")


def test_taking_one_of_all_exposed_ports_away_writes_the_others_down() -> None:
    config = ContainerConfig(exposed_ports={"80/tcp": {}, "81": {}})
    host = HostConfig(publish_all_ports=True)
    in_force = (tcp(80, 32768), tcp(81, 32769))
    wanted = Publishing(publish_remove=(Removal("32769"),))
    found = replaced(config, host, in_force, wanted, "web")
    assert not found.host_config.publish_all_ports
    assert found.host_config.port_bindings == {"80/tcp": (binding(),)}
    more = replaced(config, host, in_force, Publishing({"80": (binding("90"),)}), "web")
    assert more.host_config.port_bindings == {
        "80/tcp": (binding(), binding("90")),
        "81/tcp": (binding(),),
    }
