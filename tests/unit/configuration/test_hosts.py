"""Doors: what a host means, and that none stands open."""

from __future__ import annotations

import pytest

from tiffin.configuration.hosts import InheritedDoor, TcpDoor, Tls, UnixDoor, parse_door
from tiffin.errors import InvalidArgument

VERIFIED = Tls(enabled=True, verify=True)
CLEAR = Tls(explicit_off=True)


@pytest.mark.parametrize(
    ("host", "tls", "door"),
    [
        ("unix:///run/x.sock", Tls(), UnixDoor("/run/x.sock")),
        ("/run/x.sock", Tls(), UnixDoor("/run/x.sock")),
        ("fd://", Tls(), InheritedDoor("", tls=False)),
        ("fd://*", Tls(), InheritedDoor("", tls=False)),
        ("fd://api.socket", VERIFIED, InheritedDoor("api.socket", tls=True)),
        ("tcp://0.0.0.0:2376", VERIFIED, TcpDoor("0.0.0.0", 2376, tls=True)),
        ("tcp://:2376", VERIFIED, TcpDoor("", 2376, tls=True)),
        ("tcp://example.com", VERIFIED, TcpDoor("example.com", 2376, tls=True)),
        ("tcp://[::1]:99", VERIFIED, TcpDoor("::1", 99, tls=True)),
        ("127.0.0.1:0", CLEAR, TcpDoor("127.0.0.1", 0, tls=False)),
        ("tcp://localhost", CLEAR, TcpDoor("localhost", 2375, tls=False)),
        ("tcp://[::1]", CLEAR, TcpDoor("::1", 2375, tls=False)),
    ],
)
def test_a_host_is_a_door(host: str, tls: Tls, door: object) -> None:
    assert parse_door(host, tls) == door


@pytest.mark.parametrize(
    ("host", "tls", "words"),
    [
        ("tcp://0.0.0.0:2375", Tls(), "without TLS: whoever connects would own this machine"),
        ("tcp://0.0.0.0:2375", CLEAR, "without TLS: whoever connects would own this machine"),
        ("tcp://:2375", CLEAR, "whoever connects would own"),
        ("tcp://example.com:1", CLEAR, "whoever connects would own"),
        ("tcp://127.0.0.1:2375", Tls(), "on loopback only, and only with --tls=false"),
        ("tcp://127.0.0.1:2376", Tls(enabled=True), "--tls lets in whoever connects"),
        ("tcp://127.0.0.1:x", VERIFIED, "Invalid bind address format"),
        ("tcp://127.0.0.1:99999", VERIFIED, "Invalid bind address format"),
        ("tcp://", VERIFIED, "Invalid bind address format"),
        ("tcp://a/b", VERIFIED, "Invalid bind address format"),
        ("npipe:////x", VERIFIED, "Invalid bind address format"),
        ("unix://x", Tls(), "must be absolute"),
    ],
)
def test_an_open_door_is_refused(host: str, tls: Tls, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_door(host, tls)
