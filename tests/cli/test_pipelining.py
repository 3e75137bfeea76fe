"""Many questions on one connection: in order, ahead of the answers, whatever the daemon does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.fake_daemon import Answer, FakeDaemon
from tests.patience import patient
from tiffin.cli.client import Client
from tiffin.cli.failures import CommandFailed, DaemonAnswered
from tiffin.cli.pipelining import UNDER_WAY, get_each

Talk = Callable[[socket.socket], None]


@contextmanager
def daemon(path: Path, *talks: Talk) -> Iterator[Client]:
    """A connection for each of `talks`, one after the other."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        door.settimeout(patient(30))

        def serve() -> None:
            for talk in talks:
                connection, _ = door.accept()
                connection.settimeout(patient(30))
                with connection:
                    talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Client(f"unix://{path}")
        finally:
            thread.join()


def requests(connection: socket.socket, count: int, rest: list[bytes]) -> list[str]:
    """The paths of the next `count` requests."""
    data = b"".join(rest)
    while data.count(b"\r\n\r\n") < count:
        piece = connection.recv(65536)
        assert piece, "the client hung up"
        data += piece
    heads = data.split(b"\r\n\r\n")
    rest[:] = [b"\r\n\r\n".join(heads[count:])]
    return [head.split(b" ")[1].decode().rpartition("/")[2] for head in heads[:count]]


def answer(text: str, status: int = 200, *, more: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Words\r\nContent-Length: {len(text)}\r\n{more}\r\n"
    return head.encode() + text.encode()


def ping(connection: socket.socket) -> None:
    requests(connection, 1, [])
    connection.sendall(answer("", more="Api-Version: 1.50\r\n"))


def test_what_may_be_under_way_is_sent_before_the_first_answer(tmp_path: Path) -> None:
    names = [f"/n{number}" for number in range(UNDER_WAY * 3)]

    def talk(connection: socket.socket) -> None:
        rest: list[bytes] = []
        asked = requests(connection, UNDER_WAY, rest)
        for number in range(len(names)):
            connection.sendall(answer(asked[number].upper()))
            if number + UNDER_WAY // 2 >= len(asked) and len(asked) < len(names):
                asked += requests(connection, 1, rest)

    with daemon(tmp_path / "d.sock", ping, talk) as client:
        found = list(get_each(client, names))

    assert found == [name[1:].upper().encode() for name in names]


def test_a_refusal_is_an_answer_among_others(tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        requests(connection, 3, [])
        refusal = answer('{"message":"No such container: b"}', 404)
        connection.sendall(answer("A") + refusal + answer("C"))

    with daemon(tmp_path / "d.sock", ping, talk) as client:
        first, second, third = get_each(client, ["/a", "/b", "/c"])

    assert (first, third) == (b"A", b"C")
    assert isinstance(second, DaemonAnswered)
    assert second.status == 404


def one_answer(connection: socket.socket) -> None:
    asked = requests(connection, 1, [])
    connection.sendall(answer(asked[0].upper(), more="Connection: close\r\n"))


def test_a_daemon_that_closes_after_each_answer_is_asked_again(tmp_path: Path) -> None:
    with daemon(tmp_path / "d.sock", ping, *[one_answer] * 3) as client:
        found = list(get_each(client, ["/a", "/b", "/c"]))

    assert found == [b"A", b"B", b"C"]


def test_a_daemon_that_hangs_up_without_a_word_is_asked_again(tmp_path: Path) -> None:
    def two_answers(connection: socket.socket) -> None:
        requests(connection, 3, [])
        connection.sendall(answer("A") + answer("B"))

    with daemon(tmp_path / "d.sock", ping, two_answers, one_answer) as client:
        found = list(get_each(client, ["/a", "/b", "/c"]))

    assert found == [b"A", b"B", b"C"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "unexpected EOF"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", 'malformed HTTP response "SSH-2.0-OpenSSH"'),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "unexpected EOF"),
    ],
)
def test_no_answer_at_all_is_a_failure(tmp_path: Path, said: bytes, words: str) -> None:
    def talk(connection: socket.socket) -> None:
        requests(connection, 1, [])
        connection.sendall(said)

    with (
        daemon(tmp_path / "d.sock", talk) as client,
        pytest.raises(CommandFailed, match=words),
    ):
        list(get_each(client, ["/a"]))


@pytest.mark.parametrize("count", [1, 3])
def test_an_older_daemon_is_asked_in_its_own_version(count: int) -> None:
    with FakeDaemon("1.41") as older:
        older.routes["GET /containers/one/json"] = Answer(body=b"{}")
        found = list(get_each(Client(older.host), ["/containers/one/json"] * count))

    assert found == [b"{}"] * count
