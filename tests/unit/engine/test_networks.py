"""The predefined networks by name."""

from __future__ import annotations

import pytest

from tiffin.engine.networks import Networks
from tiffin.errors import Forbidden, InvalidArgument, NotFound, Unsupported


@pytest.fixture
def networks() -> Networks:
    return made("/var/lib/tiffin", created_ns=5)


def made(seed: str, **how: int) -> Networks:
    return Networks("172.17.0.0/16", "172.17.0.1", bridge="tiffin0", seed=seed, **how)


def test_there_are_bridge_host_and_none(networks: Networks) -> None:
    assert [(each.name, each.driver) for each in networks.list()] == [
        ("bridge", "bridge"),
        ("host", "host"),
        ("none", "null"),
    ]
    assert networks.bridge.subnet == "172.17.0.0/16"
    assert networks.bridge.gateway == "172.17.0.1"
    assert networks.bridge.options["com.docker.network.bridge.name"] == "tiffin0"
    assert {each.created_ns for each in networks.list()} == {5}


def test_ids_stay_over_a_restart_and_differ_between_data_roots(networks: Networks) -> None:
    again, other = made("/var/lib/tiffin"), made("/other")

    assert [each.id for each in again.list()] == [each.id for each in networks.list()]
    assert {each.id for each in other.list()}.isdisjoint(each.id for each in networks.list())
    assert all(len(each.id) == 64 for each in networks.list())


def test_a_network_is_found_by_name_id_and_prefix(networks: Networks) -> None:
    for reference in ("none", networks.none.id, networks.none.id[:12]):
        assert networks.get(reference) is networks.none


@pytest.mark.parametrize("reference", ["nowhere", "", "bridg"])
def test_an_unknown_network_is_named(networks: Networks, reference: str) -> None:
    with pytest.raises(NotFound, match=f"network {reference} not found"):
        networks.get(reference)


def test_a_prefix_of_several_ids_is_ambiguous(networks: Networks) -> None:
    roots = (made(str(number)) for number in range(1000))
    twins = next(each for each in roots if len({one.id[0] for one in each.list()}) < 3)
    firsts = [each.id[0] for each in twins.list()]
    shared = next(first for first in firsts if firsts.count(first) > 1)

    with pytest.raises(InvalidArgument, match=f"network {shared} is ambiguous"):
        twins.get(shared)


def test_predefined_networks_are_neither_made_nor_removed(networks: Networks) -> None:
    with pytest.raises(Forbidden, match="operation is not permitted on predefined bridge network"):
        networks.create("bridge")
    with pytest.raises(Forbidden, match="bridge is a pre-defined network and cannot be removed"):
        networks.remove("bridge")
    with pytest.raises(NotFound):
        networks.remove("nowhere")
    assert networks.prune() == ()


def test_user_defined_networks_are_refused_by_name(networks: Networks) -> None:
    with pytest.raises(Unsupported, match="cannot create network back with driver bridge"):
        networks.create("back", "bridge")
