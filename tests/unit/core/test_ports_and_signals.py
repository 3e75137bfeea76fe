"""Ports and signals as users write them."""

from __future__ import annotations

import signal

import pytest

from tiffin.core.container import HostConfig, PortBinding, PublishedPort
from tiffin.core.image import ContainerConfig
from tiffin.core.ports import parse_port, parse_port_range, requested_ports
from tiffin.core.signals import NUMBERS, parse_signal
from tiffin.errors import InvalidArgument


def test_ports_parse_with_their_protocol() -> None:
    assert parse_port("3000") == (3000, "tcp")
    assert parse_port("53/UDP") == (53, "udp")
    assert parse_port_range("8000-8010") == (8000, 8010)
    assert parse_port_range("") == (0, 0)


@pytest.mark.parametrize("text", ["", "0", "65536/tcp", "x/tcp", "80/sctp2", "-1"])
def test_bad_ports_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_port(text)


@pytest.mark.parametrize("text", ["9-8", "a", "70000", "1-b", "-1", "1-", "²"])
def test_bad_port_ranges_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_port_range(text)


def test_publish_all_adds_what_is_exposed_and_not_bound_yet() -> None:
    config = ContainerConfig(exposed_ports={"80/tcp": {}, "81/tcp": {}})
    host = HostConfig(
        publish_all_ports=True, port_bindings={"80/tcp": (PortBinding("127.0.0.1", "8080"),)}
    )
    assert requested_ports(config, host) == [
        (PublishedPort(80, "tcp", "127.0.0.1", 8080), 0),
        (PublishedPort(81, "tcp", "0.0.0.0", 0), 0),
    ]


def test_signal_numbers_are_the_kernels() -> None:
    for name, number in NUMBERS.items():
        known = getattr(signal, f"SIG{name}", None)
        assert known is None or known == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("CLD", 17)],
)
def test_signals_have_several_spellings(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "NOPE", "RTMIN+99", "RTMAX-40", "RTMIN+x", "9" * 5000, "SIG9", "²"]
)
def test_bad_signals_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid signal"):
        parse_signal(text)


@pytest.mark.parametrize("text", ["65", "-1", "99"])
def test_signals_that_linux_lacks_are_told_so(text: str) -> None:
    words = f"the linux daemon does not support signal {text}"
    with pytest.raises(InvalidArgument, match=words):
        parse_signal(text)
