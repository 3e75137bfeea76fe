"""Rules as bytes: the same that `nft` sends for the same words (recorded from nft 1.0.6)."""

from __future__ import annotations

import pytest

from tiffin.core.container import PublishedPort
from tiffin.kernel.netlink import Message
from tiffin.network import nftables as nft
from tiffin.network.firewall import Element
from tiffin.network.watch import concerns

IIFNAME = (
    "240001800900010 06d65746100000000 14000280 0800020000000006 0800010000000001"
    "38000180 08000100636d7000 2c000280 0800010000000001 0800020000000000"
    "18000380 14000100 74666230000000000000000000000000"
)
LOOPBACK_DESTINATION = (
    "34000180 0c0001007061796c6f616400 24000280"
    "0800010000000001 0800020000000001 0800030000000010 0800040000000001"
    "2c000180 08000100636d7000 20000280 0800010000000001 0800020000000000 0c000380 050001007f000000"
)
DROP = (
    "30000180 0e000100696d6d656469617465000000 1c000280 0800010000000000"
    "10000280 0c000280 0800010000000000"
)
REDIRECTED = (
    "20000180 0700010063740000 14000280 0800020000000002 0800010000000001"
    "44000180 0c00010062697477697365 00 34000280 0800010000000001 0800020000000001 0800030000000004"
    "0c000480 0800010020000000 0c000580 0800010000000000"
    "2c000180 08000100636d7000 20000280 0800010000000001 0800020000000001 0c000380 0800010000000000"
)
LOCAL = (
    "28000180 0800010066696200 1c000280 0800030000000002 0800020000000003 0800010000000001"
    "2c000180 08000100636d7000 20000280 0800010000000001 0800020000000000 0c000380 0800010002000000"
)


def recorded(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (nft.input_is("tfb0"), IIFNAME),
        (nft.destination_in("127.0.0.0/8"), LOOPBACK_DESTINATION),
        (nft.verdict(nft.DROP), DROP),
        (nft.tracked(nft.CT_STATUS, nft.STATUS_DNAT), REDIRECTED),
        (nft.destination_is_local(), LOCAL),
        (nft.masquerade(), "14000180 090001006d61737100000000 04000280"),
    ],
    ids=["iifname", "ip daddr", "drop", "ct status", "fib", "masquerade"],
)
def test_an_expression_has_the_bytes_that_nft_sends(made: bytes, expected: str) -> None:
    assert made == recorded(expected)


def test_types_of_map_keys_are_numbered_as_nft_does() -> None:
    assert (nft.PORT_KEY, nft.BOUND_KEY, nft.TARGET) == (0x30D, 0x730D, 0x1CD)


def test_an_element_has_the_bytes_that_nft_sends() -> None:
    element = Element.of("10.213.1.2", PublishedPort(80, "tcp", "0.0.0.0", 8080))

    message = nft.add_element("tiffin-x", element.map, element.key, element.target, "hello")

    assert message.body == recorded(
        "02000000 0d00010074696666696e2d7800000000 0a000200706f727473000000"
        "34000380 30000180 10000180 0c000100060000001f900000"
        "10000280 0c0001000ad5010200500000 0c00060000 0668656c6c6f00"
    )


@pytest.mark.parametrize(
    "port",
    [
        PublishedPort(80, "tcp", "0.0.0.0", 8080),
        PublishedPort(53, "udp", "127.0.0.1", 65535),
    ],
)
def test_an_element_tells_its_port(port: PublishedPort) -> None:
    element = Element.of("10.213.1.2", port)

    assert element.port == port
    assert element.address == "10.213.1.2"


def test_comments_are_read_as_they_were_written() -> None:
    for comment in ("", "c" * 64, "d" * 300):
        assert nft.comment_of(nft.user_comment(comment)) == comment[:250]
    assert nft.comment_of(b"") == ""
    assert nft.comment_of(b"\1\2x\0") == ""


def event(message: Message) -> tuple[int, bytes]:
    return message.kind, message.body


def test_the_watch_hears_what_concerns_the_table() -> None:
    forward = ("FORWARD", "filter", nft.FORWARD, 0)
    told = [
        nft.delete_table("ours"),
        nft.add_chain("filter", *forward),
        nft.message(nft.NEWCHAIN, 0, nft.text(1, "filter"), nft.text(3, "DOCKER-USER")),
        nft.flush_rules("filter"),
    ]
    passed_over = [
        nft.delete_table("other"),
        nft.add_chain("ours", *forward),
        nft.add_chain("filter", "INPUT", "filter", nft.INPUT, 0),
        nft.flush_rules("ours"),
        nft.add_table("other"),
        nft.add_element("other", "ports", b"k", b"v", ""),
    ]

    assert all(concerns(*event(message), "ours") for message in told)
    assert not any(concerns(*event(message), "ours") for message in passed_over)
    assert not concerns(16, b"\0\0\0\0", "ours")
