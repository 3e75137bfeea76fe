"""The bridge on the real kernel: who reaches whom, and who must not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kernel.network_boxes import DROPPED_SECONDS, Box, Host, Machine
from tiffin.core.container import Endpoint, PublishedPort
from tiffin.core.network import mac_of
from tiffin.errors import EngineFailure
from tiffin.network.bridge import Bridge, choose_address, uplink_mtu

pytestmark = pytest.mark.root

NAME, ADDRESS, GATEWAY = "tfntest0", "10.213.64.1/24", "10.213.64.1"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def host(stack: ExitStack) -> Host:
    return Host(stack)


@pytest.fixture
def bridge(host: Host) -> Bridge:
    return host.bridge(NAME, ADDRESS)


@pytest.fixture
def web(host: Host, bridge: Bridge) -> Box:
    box = host.box(bridge, ADDRESS)
    box.serve("http", 80, "web")
    return box


def test_a_container_has_an_address_a_default_route_and_no_ipv6(host: Host, bridge: Bridge) -> None:
    box = host.box(bridge, ADDRESS)

    links = box.shell("ip -o address")
    routes = box.shell("ip -o route")

    assert f"inet {box.address}/24 brd 10.213.64.255 scope global eth0" in links
    assert "inet 127.0.0.1/8" in links
    assert [line for line in links.splitlines() if "inet6" in line and " lo " not in line] == []
    assert f"default via {GATEWAY} dev eth0" in routes
    assert "02:42:0a:d5:40:02" in box.shell("ip link show eth0")


def test_a_namespace_owned_by_a_user_namespace_is_connected_too(host: Host, bridge: Bridge) -> None:
    box = host.box(bridge, ADDRESS, user_namespace=True)
    host.serve("tcp", 7000, "host", GATEWAY)

    assert box.ask("tcp", GATEWAY, 7000) == f"host {box.address}"


def test_network_none_has_only_loopback(host: Host, bridge: Bridge, stack: ExitStack) -> None:
    box = Box(stack)

    host.run(bridge.loopback(box.pid))

    links = box.shell("ip -o address")
    assert "inet 127.0.0.1/8" in links
    assert "eth0" not in links


def test_containers_reach_each_other_by_address(host: Host, bridge: Bridge, web: Box) -> None:
    other = host.box(bridge, ADDRESS)

    assert other.ask("http", web.address, 80) == f"web {other.address}"


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_the_outside_sees_a_container_as_the_host(host: Host, bridge: Bridge, kind: str) -> None:
    box = host.box(bridge, ADDRESS)
    host.neighbour.serve(kind, 7000, "neighbour")

    answer = box.ask(kind, Host.NEIGHBOUR_ADDRESS, 7000)

    assert answer == f"neighbour {Host.LAN_ADDRESS}"


@pytest.mark.parametrize("bridged_packets_meet_the_rules", ["1", "0"])
def test_a_published_port_is_reached_from_everywhere(
    host: Host, bridge: Bridge, web: Box, bridged_packets_meet_the_rules: str
) -> None:
    host.shell(
        f"echo {bridged_packets_meet_the_rules} >/proc/sys/net/bridge/bridge-nf-call-iptables"
    )
    port = host.publish(bridge, web, 80)
    other = host.box(bridge, ADDRESS)

    assert host.ask("http", "127.0.0.1", port) == f"web {GATEWAY}"
    assert host.ask("http", GATEWAY, port).startswith("web ")
    assert host.ask("http", Host.LAN_ADDRESS, port).startswith("web ")
    assert host.neighbour.ask("http", Host.LAN_ADDRESS, port) == f"web {Host.NEIGHBOUR_ADDRESS}"
    assert other.ask("http", GATEWAY, port) == f"web {GATEWAY}"
    assert other.ask("http", Host.LAN_ADDRESS, port) == f"web {GATEWAY}"
    assert web.ask("http", Host.LAN_ADDRESS, port) == f"web {GATEWAY}"


def test_a_container_does_not_find_its_published_port_on_its_own_loopback(
    host: Host, bridge: Bridge, web: Box
) -> None:
    port = host.publish(bridge, web, 80)

    assert web.ask("http", "127.0.0.1", port) == "ConnectionRefusedError"


def test_a_published_udp_port_is_reached_from_everywhere(host: Host, bridge: Bridge) -> None:
    box = host.box(bridge, ADDRESS)
    box.serve("udp", 5353, "echo")
    port = host.publish(bridge, box, 5353, protocol="udp")
    other = host.box(bridge, ADDRESS)

    assert host.ask("udp", "127.0.0.1", port) == f"echo {GATEWAY}"
    assert host.ask("udp", Host.LAN_ADDRESS, port).startswith("echo ")
    assert host.neighbour.ask("udp", Host.LAN_ADDRESS, port) == f"echo {Host.NEIGHBOUR_ADDRESS}"
    assert other.ask("udp", Host.LAN_ADDRESS, port) == f"echo {GATEWAY}"
    assert box.ask("udp", Host.LAN_ADDRESS, port) == f"echo {GATEWAY}"


_EARLY_AND_LATE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(60)
s.connect(("{address}", {port}))
s.send(b"early")
print("ready", flush=True)
sys.stdin.readline()
s.send(b"late")
print(s.recv(100).decode(), flush=True)
"""


def test_a_udp_flow_older_than_the_port_finds_the_container(host: Host, bridge: Bridge) -> None:
    box = host.box(bridge, ADDRESS)
    box.serve("udp", 53, "echo")
    bound, descriptor = bridge.reserve(PublishedPort(53, "udp", "", 0))
    program = _EARLY_AND_LATE.format(address=Host.LAN_ADDRESS, port=bound.host_port)
    client = host.neighbour.start(["python3", "-ISc", program])
    host.run(bridge.publish(box.id, box.endpoint(ADDRESS, box.address), [bound]))
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(b"\n")
    client.stdin.flush()

    assert client.stdout.readline().decode().strip() == f"echo {Host.NEIGHBOUR_ADDRESS}"
    os.close(descriptor)


def test_a_port_published_on_one_address_answers_there_only(
    host: Host, bridge: Bridge, web: Box
) -> None:
    port = host.publish(bridge, web, 80, host_ip=Host.LAN_ADDRESS)

    assert host.neighbour.ask("http", Host.LAN_ADDRESS, port).startswith("web ")
    assert host.ask("http", "127.0.0.1", port) == "ConnectionRefusedError"
    assert web.ask("http", GATEWAY, port) == "ConnectionRefusedError"


def _let_neighbour_route_to(host: Host, destination: str) -> None:
    """The neighbour sends packets for `destination` to the host, whatever it takes."""
    host.neighbour.shell(
        "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet\n"
        f"ip route add {destination} via {Host.LAN_ADDRESS}\n"
    )


def test_a_port_published_on_loopback_is_the_hosts_alone(
    host: Host, bridge: Bridge, web: Box
) -> None:
    port = host.publish(bridge, web, 80, host_ip="127.0.0.1")
    _let_neighbour_route_to(host, "127.0.0.1/32")

    assert host.ask("http", "127.0.0.1", port) == f"web {GATEWAY}"
    assert host.neighbour.ask("http", "127.0.0.1", port, DROPPED_SECONDS) == "TimeoutError"
    assert host.neighbour.ask("http", Host.LAN_ADDRESS, port) == "ConnectionRefusedError"
    host.shell(f"nft flush chain ip tiffin-{NAME} prerouting")
    host.shell(
        f"nft add rule ip tiffin-{NAME} prerouting "
        "dnat to ip daddr . meta l4proto . th dport map @bound"
    )
    assert host.neighbour.ask("http", "127.0.0.1", port).startswith("web ")


def test_a_neighbour_with_a_route_does_not_reach_a_container(
    host: Host, bridge: Bridge, web: Box
) -> None:
    _let_neighbour_route_to(host, "10.213.64.0/24")

    assert host.neighbour.ask("http", web.address, 80, DROPPED_SECONDS) == "TimeoutError"
    host.shell(f"nft flush chain ip tiffin-{NAME} raw\nnft flush chain ip tiffin-{NAME} forward\n")
    assert host.neighbour.ask("http", web.address, 80).startswith("web ")


def test_a_container_does_not_reach_the_hosts_loopback(host: Host, bridge: Bridge) -> None:
    box = host.box(bridge, ADDRESS)
    host.serve("tcp", 7000, "secret", "127.0.0.1")
    box.shell(
        "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet\n"
        "ip address del 127.0.0.1/8 dev lo\n"
        f"ip route add 127.0.0.0/8 via {GATEWAY} src {box.address}\n"
    )

    assert box.ask("tcp", "127.0.0.1", 7000, DROPPED_SECONDS) == "TimeoutError"
    host.shell(f"nft flush chain ip tiffin-{NAME} raw")
    assert box.ask("tcp", "127.0.0.1", 7000).startswith("secret ")


def test_a_connection_to_the_ipv6_loopback_is_refused_at_once(
    host: Host, bridge: Bridge, web: Box
) -> None:
    port = host.publish(bridge, web, 80)

    assert host.ask("http", "::1", port) == "ConnectionRefusedError"
    assert host.ask("http", "localhost", port).startswith("web ")


def test_after_disconnect_the_port_is_refused_and_the_link_gone(
    host: Host, bridge: Bridge, web: Box
) -> None:
    port = host.publish(bridge, web, 80)

    host.run(bridge.disconnect(web.id))
    host.run(bridge.disconnect(web.id))

    assert host.ask("http", "127.0.0.1", port) == "ConnectionRefusedError"
    host.run(bridge.close(keep=True))
    assert "tfn" + web.id[:12] not in host.shell("ip link")


def test_a_container_can_be_connected_again_right_after_it_was_disconnected(
    host: Host, bridge: Bridge, stack: ExitStack
) -> None:
    first, second = Box(stack), Box(stack)
    second.id = first.id
    host.plug(bridge, first, ADDRESS, "10.213.64.9")
    host.run(bridge.disconnect(first.id))
    host.plug(bridge, second, ADDRESS, "10.213.64.9")

    second.serve("tcp", 7000, "second")
    assert host.ask("tcp", "10.213.64.9", 7000).startswith("second ")


def test_an_address_used_again_leads_to_the_new_container_at_once(
    host: Host, bridge: Bridge, stack: ExitStack
) -> None:
    old, new = Box(stack), Box(stack)
    host.plug(bridge, old, ADDRESS, "10.213.64.9")
    old.serve("tcp", 7000, "old")
    assert host.ask("tcp", "10.213.64.9", 7000).startswith("old ")

    async def replace() -> None:
        await bridge.disconnect(old.id)
        await bridge.connect(new.id, new.endpoint(ADDRESS, "10.213.64.9"), new.pid)

    host.run(replace())
    new.serve("tcp", 7000, "new")

    assert host.ask("tcp", "10.213.64.9", 7000).startswith("new ")


def test_a_link_that_a_crash_left_behind_is_replaced(
    host: Host, bridge: Bridge, stack: ExitStack
) -> None:
    old, new = Box(stack), Box(stack)
    new.id = old.id
    host.plug(bridge, old, ADDRESS, "10.213.64.9")
    heir = host.bridge(NAME, ADDRESS)

    host.plug(heir, new, ADDRESS, "10.213.64.9")

    new.serve("tcp", 7000, "new")
    assert host.ask("tcp", "10.213.64.9", 7000).startswith("new ")


def test_a_failed_connect_leaves_no_link(host: Host, bridge: Bridge, stack: ExitStack) -> None:
    box = Box(stack)
    before = host.shell("ip -o link").count("\n")

    with pytest.raises(EngineFailure, match="failed to create endpoint on network bridge: "):
        host.plug(bridge, box, ADDRESS, "0.0.0.0")

    assert host.shell("ip -o link").count("\n") == before


def test_connecting_a_process_that_is_gone_fails(
    host: Host, bridge: Bridge, stack: ExitStack
) -> None:
    box = Box(stack)
    box.end()

    with pytest.raises(EngineFailure, match="its first process has ended"):
        host.plug(bridge, box, ADDRESS, "10.213.64.9")


def test_close_leaves_nothing(host: Host, bridge: Bridge, web: Box) -> None:
    host.publish(bridge, web, 80)

    host.run(bridge.close(keep=False))
    host.run(bridge.close(keep=False))

    assert host.shell("nft list ruleset") == ""
    links = host.shell("ip -o link")
    assert "tfn" not in links
    assert not os.path.exists(f"/proc/sys/net/ipv4/conf/{NAME}")


def test_a_new_daemon_adopts_links_and_ports_of_living_containers(
    host: Host, bridge: Bridge, web: Box
) -> None:
    port = host.publish(bridge, web, 80)

    heir = host.bridge(NAME, ADDRESS)

    assert host.ask("http", "127.0.0.1", port).startswith("web ")
    with pytest.raises(EngineFailure, match="port is already allocated"):
        heir.reserve(PublishedPort(80, "tcp", "0.0.0.0", port))
    host.run(heir.disconnect(web.id))
    assert host.ask("http", "127.0.0.1", port) == "ConnectionRefusedError"


def test_links_and_ports_outlive_a_close_that_keeps(host: Host, bridge: Bridge, web: Box) -> None:
    port = host.publish(bridge, web, 80)

    host.run(bridge.close(keep=True))

    assert host.ask("http", "127.0.0.1", port).startswith("web ")
    host.bridge(NAME, ADDRESS)
    assert host.ask("http", "127.0.0.1", port).startswith("web ")


def test_sweep_removes_what_belongs_to_the_dead(host: Host, bridge: Bridge, web: Box) -> None:
    dead = host.box(bridge, ADDRESS)
    port, dead_port = host.publish(bridge, web, 80), host.publish(bridge, dead, 80)
    heir = host.bridge(NAME, ADDRESS)

    host.run(heir.sweep({web.id}))

    links = host.shell("ip -o link")
    assert "tfn" + web.id[:12] in links
    assert "tfn" + dead.id[:12] not in links
    elements = host.shell(f"nft list map ip tiffin-{NAME} ports")
    assert f"tcp . {port} " in elements
    assert f"tcp . {dead_port} " not in elements


def test_a_port_of_a_dead_container_can_be_published_again(
    host: Host, bridge: Bridge, web: Box
) -> None:
    dead = host.box(bridge, ADDRESS)
    port = PublishedPort(80, "tcp", "0.0.0.0", 8080)
    host.run(bridge.publish(dead.id, dead.endpoint(ADDRESS, dead.address), [port]))

    host.run(bridge.publish(web.id, web.endpoint(ADDRESS, web.address), [port]))
    host.run(bridge.disconnect(dead.id))

    assert host.ask("http", "127.0.0.1", 8080).startswith("web ")


def test_another_address_for_the_bridge_replaces_the_old_one(host: Host, bridge: Bridge) -> None:
    host.run(bridge.close(keep=True))

    host.bridge(NAME, "10.213.65.1/24")

    addresses = host.shell(f"ip -o -4 address show dev {NAME}")
    assert "10.213.65.1/24" in addresses
    assert GATEWAY not in addresses


def test_a_link_of_another_kind_under_the_bridges_name_is_refused(host: Host) -> None:
    host.shell(f"ip link add {NAME} type veth peer name other0")

    with pytest.raises(EngineFailure, match=f"a link {NAME} exists and is no bridge"):
        host.run(Bridge(NAME, ADDRESS, "tiffin-other").open())
    host.shell("nft delete table ip tiffin-other")


def test_two_bridges_side_by_side_meet_by_published_ports_only(host: Host) -> None:
    one, two = host.bridge("tfnone0", "10.213.66.1/24"), host.bridge("tfntwo0", "10.213.67.1/24")
    web, other = host.box(one, "10.213.66.1/24"), host.box(two, "10.213.67.1/24")
    web.serve("http", 80, "web")
    port = host.publish(one, web, 80)

    assert other.ask("http", Host.LAN_ADDRESS, port).startswith("web ")
    assert other.ask("http", "10.213.67.1", port).startswith("web ")
    assert other.ask("http", web.address, 80, DROPPED_SECONDS) == "TimeoutError"


def test_the_first_pool_that_no_route_overlaps_is_chosen(host: Host) -> None:
    assert choose_address("tfntest0") == "172.17.0.1/16"
    host.shell(f"ip route add 172.17.128.0/24 via {Host.NEIGHBOUR_ADDRESS}")
    assert choose_address("tfntest0") == "172.18.0.1/16"


def test_a_bridge_that_is_there_keeps_its_address(host: Host, bridge: Bridge) -> None:
    assert choose_address(NAME) == ADDRESS


def test_a_bridge_told_nothing_chooses_address_and_mtu(host: Host) -> None:
    host.shell(
        f"ip route add default via {Host.NEIGHBOUR_ADDRESS}\nip link set lan0 mtu 1400\n"
        f"ip route add 172.17.0.0/16 via {Host.NEIGHBOUR_ADDRESS}\n"
    )

    bridge = host.bridge(NAME, "", mtu=0)

    assert (bridge.subnet, bridge.gateway, bridge.mtu) == ("172.18.0.0/16", "172.18.0.1", 1400)
    box = host.box(bridge, "172.18.0.1/16")
    assert "mtu 1400" in box.shell("ip link show eth0")
    heir = host.bridge(NAME, "", mtu=0)
    assert heir.gateway == "172.18.0.1"


def test_the_mtu_is_that_of_the_way_out_and_at_most_1500(host: Host) -> None:
    assert uplink_mtu() == 1500
    host.shell(f"ip route add default via {Host.NEIGHBOUR_ADDRESS}\nip link set lan0 mtu 9000\n")
    assert uplink_mtu() == 1500
    host.shell("ip link set lan0 mtu 1280")
    assert uplink_mtu() == 1280


def test_whose_first_process_has_ended_is_told_so(host: Host, bridge: Bridge) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    address, gateway = "10.213.64.77", "10.213.64.1"
    endpoint = Endpoint("n" * 64, "bridge", "e" * 64, address, 24, gateway, mac_of(address))
    with pytest.raises(EngineFailure, match="on network bridge: its first process has ended"):
        host.run(bridge.connect("e" * 64, endpoint, ended.pid))


def test_a_bridge_that_cannot_be_made_can_be_tried_again(host: Host) -> None:
    bridge = Bridge(NAME, "10.213.64.1/24", "tiffin-again")
    host.shell(f"ip link add {NAME} type veth peer name other0")
    with pytest.raises(EngineFailure):
        host.run(bridge.open())
    host.shell("ip link delete other0")

    host.run(bridge.open())

    assert NAME in host.shell("ip link show type bridge")
    host.run(bridge.close(keep=False))


def test_ports_work_with_strict_reverse_path_filtering(
    host: Host, bridge: Bridge, web: Box
) -> None:
    host.shell("for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$file; done")
    port = host.publish(bridge, web, 80)

    assert host.ask("http", "127.0.0.1", port).startswith("web ")
    assert host.neighbour.ask("http", Host.LAN_ADDRESS, port).startswith("web ")
    assert web.ask("http", Host.LAN_ADDRESS, port).startswith("web ")


def test_on_the_real_machine_ports_answer_at_loopback_and_leave_nothing(stack: ExitStack) -> None:
    machine = Machine(stack)
    address = "10.213.99.1/24"
    bridge = machine.bridge("tfntest9", address)
    box = machine.box(bridge, address)
    box.serve("http", 80, "web")
    port = machine.publish(bridge, box, 80)

    assert machine.ask("http", "127.0.0.1", port) == "web 10.213.99.1"

    machine.run(bridge.close(keep=False))
    assert "tfntest9" not in machine.shell("nft list tables; ip link")
