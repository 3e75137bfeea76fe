"""What arrives on a container's link that nobody asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kernel.network_boxes import Host
from tiffin.network import links

pytestmark = pytest.mark.root

ADDRESS = "10.213.71.1/24"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.threat("unasked-ipv6")
def test_a_container_has_no_ipv6_that_nobody_gave_it(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A neighbour on the bridge sends router advertisements, and is everybody's router for IPv6
    (CVE-2020-13401); a network without IPv6 has it all the same (CVE-2024-32473).

    Defence: before a link comes up, IPv6 is off on all but the loopback, and router advertisements
    are not accepted.
    Seen to fail: without these settings the container's link has an IPv6 address.
    """
    host = Host(stack)
    bridge = host.bridge("tfnthr0", ADDRESS)

    def state() -> tuple[bool, str]:
        box = host.box(bridge, ADDRESS)
        settings = "cat /proc/sys/net/ipv6/conf/eth0/accept_ra"
        return "inet6" in box.shell("ip -6 -o address show dev eth0"), box.shell(settings).strip()

    assert state() == (False, "0")
    monkeypatch.setattr(links, "_INSIDE_SETTINGS", ())
    assert state() == (True, "1")
