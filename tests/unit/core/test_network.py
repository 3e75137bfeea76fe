"""Addresses, names and texts of networks, by Docker's rules."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core import network
from tiffin.core.network import (
    AddressPool,
    choose_bridge_address,
    hosts_file,
    mac_of,
    parse_bip,
    resolv_conf,
)
from tiffin.errors import EngineFailure, InvalidArgument


def pool_with(subnet: str, *held: str) -> AddressPool:
    pool = AddressPool(subnet, held[0])
    for address in held[1:]:
        pool.hold(address)
    return pool


def test_the_lowest_free_address_is_given() -> None:
    pool = pool_with("172.17.0.0/16", "172.17.0.1", "172.17.0.2", "172.17.0.4")

    assert [pool.take(), pool.take()] == ["172.17.0.3", "172.17.0.5"]


def test_an_address_that_is_given_back_is_given_again_once_nobody_holds_it() -> None:
    pool = pool_with("172.17.0.0/16", "172.17.0.1")
    first, second = pool.take(), pool.take()
    pool.hold(first)

    pool.give_back(first)
    assert pool.take() == "172.17.0.4"
    pool.give_back(first)
    pool.give_back(second)
    assert [pool.take(), pool.take()] == [first, second]


def test_an_address_of_an_earlier_subnet_is_never_given() -> None:
    pool = pool_with("172.17.0.0/16", "172.17.0.1", "10.0.0.9")
    pool.give_back("10.0.0.9")

    assert pool.take() == "172.17.0.2"


def test_a_full_subnet_is_a_failure_in_dockers_words() -> None:
    pool = pool_with("10.0.0.0/30", "10.0.0.1", "10.0.0.2")

    with pytest.raises(EngineFailure, match="no available IPv4 addresses on this network's"):
        pool.take()


@given(st.lists(st.integers(1, 62), min_size=1, unique=True), st.integers(24, 26))
def test_an_address_is_a_free_host_address(used: list[int], prefix: int) -> None:
    subnet = IPv4Network(f"10.1.2.0/{prefix}")
    taken = [str(subnet.network_address + number) for number in used]
    pool = pool_with(str(subnet), *taken)
    try:
        address = pool.take()
    except EngineFailure:
        assert prefix == 26
        assert len(used) == 62
        return
    assert address not in taken
    assert IPv4Address(address) in subnet
    assert IPv4Address(address) not in (subnet.network_address, subnet.broadcast_address)


def test_a_mac_address_tells_the_address() -> None:
    assert mac_of("172.17.0.2") == "02:42:ac:11:00:02"


def test_a_bridge_address_is_subnet_and_gateway() -> None:
    assert parse_bip("10.9.8.1/24") == ("10.9.8.0/24", "10.9.8.1")


@pytest.mark.parametrize("bip", ["", "10.9.8.1", "10.9.8.0/24", "10.9.8.255/24", "::1/64", "x/24"])
def test_a_bridge_address_must_be_a_host_address_with_a_prefix(bip: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_bip(bip)


@pytest.mark.parametrize(
    ("routes", "chosen"),
    [
        (["0.0.0.0/0"], "172.17.0.1/16"),
        (["172.17.5.0/24"], "172.18.0.1/16"),
        (["172.16.0.0/12"], "192.168.0.1/20"),
        (["172.16.0.0/12", "192.168.1.0/24"], "192.168.16.1/20"),
        ([f"172.{second}.0.0/16" for second in range(17, 21)], "172.21.0.1/16"),
    ],
)
def test_the_first_of_dockers_pools_without_a_route_is_chosen(
    routes: list[str], chosen: str
) -> None:
    assert choose_bridge_address(routes) == chosen


def test_a_host_with_routes_everywhere_has_no_pool_left() -> None:
    with pytest.raises(EngineFailure, match="could not find an available"):
        choose_bridge_address(["0.0.0.0/1", "128.0.0.0/1"])


HOST = """# a comment
domain old.example
search one.example two.example
nameserver 127.0.0.53
nameserver 192.0.2.53 # ours
nameserver fd00::53
options ndots:2
options edns0
sortlist 10.0.0.0
"""


def test_the_hosts_resolver_is_passed_on_without_what_a_container_cannot_reach() -> None:
    assert resolv_conf(HOST, (), (), ()) == (
        "nameserver 192.0.2.53\n"
        "search one.example two.example\n"
        "options ndots:2 edns0\n"
        "sortlist 10.0.0.0\n"
    )


@pytest.mark.parametrize(
    "host",
    ["", "nameserver 127.0.0.1\n", "nameserver ::1\n", "nameserver\n", "nameserver fe80::1%2"],
)
def test_without_a_reachable_server_dockers_fallbacks_are_used(host: str) -> None:
    assert resolv_conf(host, (), (), ()) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


def test_what_is_asked_for_replaces_what_the_host_has() -> None:
    assert resolv_conf(HOST, ("192.0.2.1", "::1"), ("x.example",), ("timeout:1",)) == (
        "nameserver 192.0.2.1\n"
        "nameserver ::1\n"
        "search x.example\n"
        "options timeout:1\n"
        "sortlist 10.0.0.0\n"
    )


def test_a_dot_asks_for_no_search_domains() -> None:
    assert "search" not in resolv_conf(HOST, (), (".",), ())


@pytest.mark.parametrize(
    ("dns", "search", "options"),
    [
        (("1.2.3.4\nnameserver 6.6.6.6",), (), ()),
        (("dns.example",), (), ()),
        ((), ("x.example\nnameserver 6.6.6.6",), ()),
        ((), ("",), ()),
        ((), (), ("ndots:1 rotate",)),
        ((), (), ("ndots:1\x85nameserver",)),
    ],
)
def test_no_line_can_be_smuggled_into_resolv_conf(
    dns: tuple[str, ...], search: tuple[str, ...], options: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidArgument):
        resolv_conf(HOST, dns, search, options)


@given(st.text())
def test_any_host_file_gives_a_resolver(text: str) -> None:
    lines = resolv_conf(text, (), (), ()).splitlines()

    assert lines[0].startswith("nameserver ")


def test_hosts_has_the_containers_own_name_last() -> None:
    text = hosts_file("172.17.0.2", "web", "", ("db:10.0.0.9", "six:[fd00::1]", "v6:::2"))

    assert text == (
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n"
        "10.0.0.9\tdb\n"
        "fd00::1\tsix\n"
        "::2\tv6\n"
        "172.17.0.2\tweb\n"
    )


@pytest.mark.parametrize(
    ("hostname", "domain"),
    [("web", "example.org"), ("web.example", "org"), ("web.example.org", "")],
)
def test_hosts_has_the_full_name_before_the_short_one(hostname: str, domain: str) -> None:
    assert hosts_file("172.17.0.2", hostname, domain).endswith("\tweb.example.org web\n")


def test_hosts_without_an_address_has_no_line_of_its_own() -> None:
    assert hosts_file("", "", "").endswith("ip6-allrouters\n")


@pytest.mark.parametrize(
    ("hostname", "domain", "extra"),
    [
        ("web\n6.6.6.6\tbank.example", "", ()),
        ("web", "a b", ()),
        ("web", "", ("bank.example:6.6.6.6\n7.7.7.7",)),
        ("web", "", ("two words:6.6.6.6",)),
        ("web", "", (":6.6.6.6",)),
        ("web", "", ("nothing",)),
    ],
)
def test_no_line_can_be_smuggled_into_hosts(
    hostname: str, domain: str, extra: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidArgument):
        hosts_file("172.17.0.2", hostname, domain, extra)


def test_a_wrong_extra_host_is_named_as_docker_does() -> None:
    with pytest.raises(InvalidArgument, match='invalid IP address in add-host: "nowhere"'):
        hosts_file("", "", "", ("db:nowhere",))


def test_the_words_for_taken_ports_are_dockers() -> None:
    assert network.port_is_allocated("0.0.0.0", 8080) == (
        "Bind for 0.0.0.0:8080 failed: port is already allocated"
    )
    assert network.port_cannot_be_bound("tcp", "0.0.0.0", 8080, "Address already in use") == (
        "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use"
    )
    assert network.no_port_is_free(8000, 8010, "0.0.0.0") == (
        "Bind for 0.0.0.0:8000-8010 failed: all ports are allocated"
    )
