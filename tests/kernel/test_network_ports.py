"""Host ports held by bound sockets: nobody else gets them, and is told so in Docker's words."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from tests.patience import patient
from tiffin.core.container import PublishedPort
from tiffin.errors import EngineFailure, InvalidArgument, Unsupported
from tiffin.network.ports import Reservations, ephemeral_ports

pytestmark = pytest.mark.root


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def program(address: str = "127.0.0.1", port: int = 0, *, reuse: bool = False) -> socket.socket:
    """What a program of the host does to serve."""
    bound = socket.socket()
    try:
        if reuse:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound


def asked(host_port: int, host_ip: str = "0.0.0.0", protocol: str = "tcp") -> PublishedPort:
    return PublishedPort(80, protocol, host_ip, host_port)


def free_port() -> int:
    with program() as bound:
        return int(bound.getsockname()[1])


@pytest.mark.parametrize("reuse", [True, False])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1"])
def test_no_program_can_bind_a_reserved_port(stack: ExitStack, address: str, reuse: bool) -> None:
    port, descriptor = Reservations().reserve(asked(0))
    stack.callback(os.close, descriptor)

    with pytest.raises(OSError) as caught:
        program(address, port.host_port, reuse=reuse)

    assert caught.value.errno == errno.EADDRINUSE


def test_a_connection_to_a_reserved_port_without_rules_is_refused(stack: ExitStack) -> None:
    port, descriptor = Reservations().reserve(asked(0))
    stack.callback(os.close, descriptor)

    for address in ("127.0.0.1", "::1"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port.host_port), timeout=patient(60))


def test_a_port_that_a_program_holds_is_refused(stack: ExitStack) -> None:
    held = stack.enter_context(program("0.0.0.0")).getsockname()[1]

    with pytest.raises(EngineFailure) as caught:
        Reservations().reserve(asked(held))

    assert caught.value.message == (
        f"Error starting userland proxy: listen tcp4 0.0.0.0:{held}: bind: address already in use"
    )


def test_a_port_that_a_program_holds_on_one_address_is_refused_for_all(stack: ExitStack) -> None:
    held = stack.enter_context(program("127.0.0.1")).getsockname()[1]

    with pytest.raises(EngineFailure, match="address already in use"):
        Reservations().reserve(asked(held))


def test_a_port_that_a_container_holds_is_refused_in_other_words(stack: ExitStack) -> None:
    reservations = Reservations()
    port, descriptor = reservations.reserve(asked(0))
    stack.callback(os.close, descriptor)
    reservations.held_by("c" * 64, [port])

    with pytest.raises(EngineFailure) as caught:
        reservations.reserve(asked(port.host_port))

    assert caught.value.message == (
        f"Bind for 0.0.0.0:{port.host_port} failed: port is already allocated"
    )


def test_an_address_that_the_host_does_not_have_is_refused() -> None:
    with pytest.raises(EngineFailure) as caught:
        Reservations().reserve(asked(8080, "203.0.113.77"))

    assert caught.value.message == (
        "Error starting userland proxy: listen tcp4 203.0.113.77:8080: "
        "bind: cannot assign requested address"
    )


def test_what_cannot_be_published_is_named() -> None:
    with pytest.raises(Unsupported, match="publishing sctp ports is not supported"):
        Reservations().reserve(asked(8080, protocol="sctp"))
    with pytest.raises(InvalidArgument, match="invalid IP address: ::1"):
        Reservations().reserve(asked(8080, "::1"))


def test_a_port_with_connections_of_a_program_that_is_gone_can_be_reserved(
    stack: ExitStack,
) -> None:
    server = program("127.0.0.1", reuse=True)
    port = server.getsockname()[1]
    with closing(server), socket.create_connection(("127.0.0.1", port)) as client:
        accepted, _ = server.accept()
        accepted.close()  # closes first: TIME_WAIT stays on the server's side
        client.recv(1)
    with pytest.raises(OSError):
        program("127.0.0.1", port)

    _, descriptor = Reservations().reserve(asked(port))
    stack.callback(os.close, descriptor)

    for reuse in (False, True):
        with pytest.raises(OSError):
            program("127.0.0.1", port, reuse=reuse)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=patient(60))


def test_tcp_and_udp_ports_of_one_number_do_not_clash(stack: ExitStack) -> None:
    reservations = Reservations()
    port, descriptor = reservations.reserve(asked(0))
    stack.callback(os.close, descriptor)

    udp, descriptor = reservations.reserve(asked(port.host_port, protocol="udp"))
    stack.callback(os.close, descriptor)

    assert udp.host_port == port.host_port


def test_any_port_is_the_next_one_of_the_ephemeral_range(stack: ExitStack) -> None:
    reservations = Reservations()
    numbers = []
    for _ in range(3):
        port, descriptor = reservations.reserve(asked(0))
        stack.callback(os.close, descriptor)
        numbers.append(port.host_port)

    first, last = ephemeral_ports()
    assert all(first <= number <= last for number in numbers)
    assert numbers == sorted(set(numbers))


def test_of_a_range_the_first_free_port_is_taken(stack: ExitStack) -> None:
    held = stack.enter_context(program("0.0.0.0")).getsockname()[1]

    port, descriptor = Reservations().reserve(asked(held), held + 20)
    stack.callback(os.close, descriptor)

    assert held < port.host_port <= held + 20


def test_a_range_without_a_free_port_is_refused(stack: ExitStack) -> None:
    first = free_port()
    for number in (first, first + 1):
        try:
            stack.enter_context(program("0.0.0.0", number))
        except OSError:
            continue  # somebody else's, which serves as well

    with pytest.raises(EngineFailure, match="all ports are allocated"):
        Reservations().reserve(asked(first), first + 1)


def test_a_closed_descriptor_gives_the_port_back() -> None:
    port, descriptor = Reservations().reserve(asked(0))
    os.close(descriptor)

    program("127.0.0.1", port.host_port).close()


def test_descriptors_are_not_inherited(stack: ExitStack) -> None:
    _, descriptor = Reservations().reserve(asked(0))
    stack.callback(os.close, descriptor)

    assert not os.get_inheritable(descriptor)
