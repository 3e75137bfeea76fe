"""What the engine may expect of engine.ports.Links, of the real bridge and of the fake alike."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from tests.fakes.links import FakeLinks
from tests.kernel.network_boxes import Box, Host
from tiffin.core.container import Endpoint, PublishedPort
from tiffin.core.network import mac_of
from tiffin.engine.ports import Links
from tiffin.errors import EngineFailure, InvalidArgument, Unsupported

ADDRESS = "10.213.69.1/24"


class Subject(Protocol):
    links: Links

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any: ...

    def pid(self) -> int: ...


class Fake:
    def __init__(self, stack: ExitStack) -> None:
        runner = stack.enter_context(asyncio.Runner())
        self.links = FakeLinks()
        self.run = runner.run
        stack.callback(lambda: runner.run(self.links.close(keep=False)))

    def pid(self) -> int:
        return 4711


class Real:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        host = Host(stack)
        self.links = host.bridge("tfntest0", ADDRESS)
        self.run = host.run

    def pid(self) -> int:
        return Box(self._stack).pid


@pytest.fixture(params=[Fake, pytest.param(Real, marks=pytest.mark.root)])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    with ExitStack() as stack:
        make: Callable[[ExitStack], Subject] = request.param
        yield make(stack)


@pytest.fixture
def held() -> Iterator[list[int]]:
    descriptors: list[int] = []
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


def new_id() -> str:
    return os.urandom(32).hex()


def endpoint(number: int = 2) -> Endpoint:
    address = f"10.213.69.{number}"
    gateway = ADDRESS.partition("/")[0]
    return Endpoint("n" * 64, "bridge", "e" * 64, address, 24, gateway, mac_of(address))


def asked(host_port: int = 0, *, host_ip: str = "0.0.0.0", protocol: str = "tcp") -> PublishedPort:
    return PublishedPort(80, protocol, host_ip, host_port)


def test_connect_and_disconnect(subject: Subject) -> None:
    container = new_id()
    subject.run(subject.links.connect(container, endpoint(), subject.pid()))
    subject.run(subject.links.disconnect(container))


def test_a_disconnected_container_can_be_connected_again(subject: Subject) -> None:
    container = new_id()
    for _ in range(2):
        subject.run(subject.links.connect(container, endpoint(), subject.pid()))
        subject.run(subject.links.disconnect(container))


def test_disconnecting_twice_or_an_unknown_container_changes_nothing(subject: Subject) -> None:
    container = new_id()
    subject.run(subject.links.connect(container, endpoint(), subject.pid()))
    for each in (container, container, new_id()):
        subject.run(subject.links.disconnect(each))


def test_loopback_alone(subject: Subject) -> None:
    subject.run(subject.links.loopback(subject.pid()))


def test_a_free_port_is_reserved_as_asked(subject: Subject, held: list[int]) -> None:
    free, descriptor = subject.links.reserve(asked())
    os.close(descriptor)

    port, descriptor = subject.links.reserve(asked(free.host_port))
    held.append(descriptor)

    assert port == asked(free.host_port)


def test_no_address_means_every_address(subject: Subject, held: list[int]) -> None:
    port, descriptor = subject.links.reserve(asked(host_ip=""))
    held.append(descriptor)

    assert port.host_ip == "0.0.0.0"


def test_any_port_is_another_one_each_time(subject: Subject, held: list[int]) -> None:
    ports = []
    for _ in range(3):
        port, descriptor = subject.links.reserve(asked())
        held.append(descriptor)
        ports.append(port.host_port)

    assert len(set(ports)) == 3
    assert min(ports) >= 1024


def test_of_a_range_the_first_free_port_is_reserved(subject: Subject, held: list[int]) -> None:
    taken, descriptor = subject.links.reserve(asked())
    held.append(descriptor)

    port, descriptor = subject.links.reserve(asked(taken.host_port), taken.host_port + 50)
    held.append(descriptor)

    assert taken.host_port < port.host_port <= taken.host_port + 50


def test_a_reserved_port_is_refused(subject: Subject, held: list[int]) -> None:
    taken, descriptor = subject.links.reserve(asked())
    held.append(descriptor)

    with pytest.raises(EngineFailure, match="bind: address already in use"):
        subject.links.reserve(asked(taken.host_port))
    with pytest.raises(EngineFailure, match="bind: address already in use"):
        subject.links.reserve(asked(taken.host_port, host_ip="127.0.0.1"))


def test_a_published_port_is_refused_as_allocated(subject: Subject, held: list[int]) -> None:
    container = new_id()
    taken, descriptor = subject.links.reserve(asked())
    held.append(descriptor)
    subject.run(subject.links.connect(container, endpoint(), subject.pid()))
    subject.run(subject.links.publish(container, endpoint(), [taken]))

    with pytest.raises(EngineFailure) as caught:
        subject.links.reserve(asked(taken.host_port))

    assert caught.value.message == (
        f"Bind for 0.0.0.0:{taken.host_port} failed: port is already allocated"
    )


def test_a_port_is_free_again_after_disconnect_and_close(subject: Subject, held: list[int]) -> None:
    container = new_id()
    taken, descriptor = subject.links.reserve(asked())
    subject.run(subject.links.connect(container, endpoint(), subject.pid()))
    subject.run(subject.links.publish(container, endpoint(), [taken]))

    subject.run(subject.links.disconnect(container))
    os.close(descriptor)

    port, descriptor = subject.links.reserve(asked(taken.host_port))
    held.append(descriptor)
    assert port == taken


def test_the_same_number_of_another_protocol_is_free(subject: Subject, held: list[int]) -> None:
    taken, descriptor = subject.links.reserve(asked())
    held.append(descriptor)

    port, descriptor = subject.links.reserve(asked(taken.host_port, protocol="udp"))
    held.append(descriptor)

    assert port.host_port == taken.host_port


def test_publishing_again_replaces_what_was_published(subject: Subject, held: list[int]) -> None:
    container = new_id()
    one, descriptor = subject.links.reserve(asked())
    held.append(descriptor)
    two, descriptor = subject.links.reserve(asked(protocol="udp"))
    held.append(descriptor)
    subject.run(subject.links.connect(container, endpoint(), subject.pid()))
    for ports in ([one], [one, two], [two], []):
        subject.run(subject.links.publish(container, endpoint(), ports))
        assert set(subject.links.published_ports().get(container, ())) == set(ports)


def test_publishing_no_ports_is_allowed(subject: Subject) -> None:
    container = new_id()
    subject.run(subject.links.connect(container, endpoint(), subject.pid()))
    subject.run(subject.links.publish(container, endpoint(), []))


def test_what_cannot_be_published_is_refused_by_name(subject: Subject) -> None:
    with pytest.raises(Unsupported, match="sctp"):
        subject.links.reserve(asked(80, protocol="sctp"))
    with pytest.raises(InvalidArgument, match="invalid IP address: nonsense"):
        subject.links.reserve(asked(80, host_ip="nonsense"))
