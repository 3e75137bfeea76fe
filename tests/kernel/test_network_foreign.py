"""Beside other programs' packet filters: theirs drop, flush and come later; ours still works."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kernel.network_boxes import DROPPED_SECONDS, Box, Host
from tests.patience import patient
from tiffin.network.bridge import Bridge

pytestmark = pytest.mark.root

NAME, ADDRESS = "tfntest0", "10.213.68.1/24"

# What the tables of dockerd, of ufw (both through iptables-nft) and of firewalld come down to.
DOCKER = """
table ip filter {
    chain DOCKER-USER { return; }
    chain FORWARD { type filter hook forward priority filter; policy drop; jump DOCKER-USER; }
}
"""
UFW = """
table ip filter {
    chain FORWARD { type filter hook forward priority filter; policy drop; }
}
"""
FIREWALLD = """
table inet firewalld {
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        reject with icmpx admin-prohibited
    }
}
"""
DROPPING = {"dockerd": DOCKER, "ufw": UFW, "firewalld": FIREWALLD}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def host(stack: ExitStack) -> Host:
    return Host(stack)


def load(host: Host, rules: str) -> None:
    host.shell(f"nft -f - <<'EOF'\n{rules}\nEOF\n")


def web_on(host: Host, bridge: Bridge) -> tuple[Box, int]:
    box = host.box(bridge, ADDRESS)
    box.serve("http", 80, "web")
    return box, host.publish(bridge, box, 80)


def from_outside(host: Host, port: int) -> str:
    return host.neighbour.ask("http", Host.LAN_ADDRESS, port).split(maxsplit=1)[0]


async def until_repaired(bridge: Bridge) -> None:
    await asyncio.wait_for(bridge._repaired.wait(), patient(60))


@pytest.mark.parametrize("who", DROPPING)
def test_published_ports_work_where_another_table_drops_forwarded_packets(
    host: Host, who: str
) -> None:
    load(host, DROPPING[who])
    before = host.shell("nft list ruleset")
    bridge = host.bridge(NAME, ADDRESS)
    box, port = web_on(host, bridge)
    host.neighbour.serve("tcp", 7000, "neighbour")

    assert from_outside(host, port) == "web"
    assert box.ask("tcp", Host.NEIGHBOUR_ADDRESS, 7000).startswith("neighbour ")

    host.run(bridge.close(keep=False))
    assert host.shell("nft list ruleset") == before


def test_the_other_table_did_drop(host: Host) -> None:
    bridge = host.bridge(NAME, ADDRESS)
    _, port = web_on(host, bridge)
    bridge._watch.close()
    load(host, UFW)

    answer = host.neighbour.ask("http", Host.LAN_ADDRESS, port, DROPPED_SECONDS)
    assert answer == "TimeoutError"


def test_rules_go_to_the_chain_that_dockerd_keeps_for_users(host: Host) -> None:
    load(host, DOCKER)

    host.bridge(NAME, ADDRESS)

    assert f'iifname "{NAME}" accept' in host.shell("nft list chain ip filter DOCKER-USER")
    assert NAME not in host.shell("nft list chain ip filter FORWARD")


def test_rules_are_added_once_however_often_the_bridge_is_opened(host: Host) -> None:
    load(host, UFW)
    bridge = host.bridge(NAME, ADDRESS)

    host.run(bridge.close(keep=True))
    host.bridge(NAME, ADDRESS)

    assert host.shell("nft list chain ip filter FORWARD").count(f'iifname "{NAME}"') == 1


def test_iptables_can_read_its_chain_with_our_rules_in_it(host: Host) -> None:
    host.shell("iptables-nft -P FORWARD DROP; iptables-nft -A FORWARD -j LOG")

    host.bridge(NAME, ADDRESS)

    rules = host.shell("iptables-nft -S FORWARD").splitlines()
    assert rules[0] == "-P FORWARD DROP"
    assert rules[1].startswith(f"-A FORWARD -i {NAME} ")
    assert rules[1].endswith("-j ACCEPT")


@pytest.mark.parametrize("who", DROPPING)
def test_a_firewall_that_starts_later_is_noticed(host: Host, who: str) -> None:
    bridge = host.bridge(NAME, ADDRESS)
    _, port = web_on(host, bridge)
    load(host, DROPPING[who])

    host.run(until_repaired(bridge))

    assert from_outside(host, port) == "web"


def test_a_firewall_that_is_reloaded_gets_our_rules_again(host: Host) -> None:
    load(host, UFW)
    bridge = host.bridge(NAME, ADDRESS)
    _, port = web_on(host, bridge)
    host.shell("nft flush chain ip filter FORWARD")

    host.run(until_repaired(bridge))

    assert from_outside(host, port) == "web"


def test_a_flushed_ruleset_is_written_again_with_its_ports(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = host.bridge(NAME, ADDRESS)
    _, port = web_on(host, bridge)
    before = host.shell("nft list ruleset")
    host.shell("nft flush ruleset")

    with caplog.at_level(logging.WARNING):
        host.run(until_repaired(bridge))

    assert from_outside(host, port) == "web"
    assert host.shell("nft list ruleset") == before
    assert f"packet filter table was removed and is restored bridge={NAME}" in caplog.text


def test_a_port_published_before_the_watch_has_heard_of_a_flush_works(host: Host) -> None:
    bridge = host.bridge(NAME, ADDRESS)
    _, port = web_on(host, bridge)
    bridge._watch.close()
    host.shell("nft flush ruleset")

    _, second = web_on(host, bridge)

    assert from_outside(host, second) == "web"
    assert from_outside(host, port) == "web"


def test_disconnecting_after_a_flush_is_no_failure(host: Host) -> None:
    bridge = host.bridge(NAME, ADDRESS)
    box, _ = web_on(host, bridge)
    bridge._watch.close()
    host.shell("nft flush ruleset")

    host.run(bridge.disconnect(box.id))
