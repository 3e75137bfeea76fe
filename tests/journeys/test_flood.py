"""One container writes at full speed to many clients: some read, some slowly, some not at all."""

from __future__ import annotations

import hashlib
import json
import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.live import LiveDaemon
from tests.patience import patient

pytestmark = pytest.mark.root

MIB = 1 << 20
SECONDS = patient(120)
MEGABYTES = 40
SCRIPT = f"""
read start
n=0
while [ $n -lt {MEGABYTES} ]; do head -c {MIB} /dev/zero | tr '\\0' $((n % 10)); n=$((n+1)); done
echo end
read stop
"""
PIECES = [str(number % 10).encode() * MIB for number in range(MEGABYTES)]
SAID = b"".join(PIECES) + b"end\n"
DIGEST = hashlib.sha256(SAID).hexdigest()


def attached(daemon: LiveDaemon, query: str) -> socket.socket:
    """The stream of one who attaches; no byte of it has been read."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(SECONDS)
    client.connect(daemon.socket)
    client.sendall(
        f"POST /containers/flood/attach?stream=1&{query} HTTP/1.1\r\nHost: localhost\r\n"
        "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return client


class Reader:
    """Reads to the end in a thread: the digest of what the container said."""

    def __init__(self, client: socket.socket, *, piece: int = MIB, waits: float = 0) -> None:
        self._file: BinaryIO = client.makefile("rb", piece)
        self._waits = waits
        self._digest = hashlib.sha256()
        self._left = len(SAID)
        self.has_all = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while head := self._file.read(8):
            (length,) = struct.unpack(">4xL", head)
            self._digest.update(self._file.read(length))
            self._left -= length
            if self._left <= 0:
                self.has_all.set()
            if self._waits:
                select.select([], [], [], self._waits)  # this is how slow it is

    def seen(self) -> str:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        return self._digest.hexdigest()


def peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def takes_at_most(size: int, *pids: int) -> Iterator[None]:
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is measured from here
    before = [peak(pid) for pid in pids]
    yield
    grown = [peak(pid) - was for pid, was in zip(pids, before, strict=True)]
    assert max(grown) < size, grown


@pytest.fixture
def shim(daemon: LiveDaemon) -> Iterator[int]:
    """Of a container that begins once it is told to."""
    daemon.docker(
        *("create", "-i", "--name", "flood", "--network=none", "--log-opt", "max-size=1m"),
        *("busybox", "sh", "-c", SCRIPT),
    )
    daemon.docker("start", "flood")
    state = json.loads(daemon.docker("inspect", "flood").stdout)[0]["State"]
    stat = Path(f"/proc/{state['Pid']}/stat").read_text()
    yield int(stat.rpartition(")")[2].split()[1])
    daemon.docker("rm", "-f", "flood")


def test_who_reads_gets_every_byte_whatever_others_do(daemon: LiveDaemon, shim: int) -> None:
    """A megabyte is kept for each: less than half of what is said, whoever does not read it."""
    output = "stdout=1&stderr=1"
    with takes_at_most(MEGABYTES // 2 * MIB, shim, daemon.pid):
        still = [attached(daemon, output) for _ in range(4)]
        leaving = [attached(daemon, output) for _ in range(2)]
        quick = [Reader(attached(daemon, output)) for _ in range(4)]
        slow = Reader(attached(daemon, output), piece=4096, waits=0.001)
        telling = attached(daemon, "stdin=1")
        telling.sendall(b"\n")
        for client in leaving:
            client.recv(100)
            client.close()  # what it has not read resets the connection
        for number in range(3):
            said = daemon.docker("run", "--rm", "--network=none", "busybox", "echo", str(number))
            assert said.stdout == f"{number}\n"

        assert all(reader.has_all.wait(SECONDS) for reader in (*quick, slow))

    telling.sendall(b"\n")
    telling.close()
    assert [reader.seen() for reader in (*quick, slow)] == [DIGEST] * 5
    assert daemon.docker("wait", "flood").stdout == "0\n"
    assert daemon.docker("logs", "-n1", "flood").stdout == "end\n"
    for client in still:
        client.close()
