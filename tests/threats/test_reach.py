"""Who can reach the engine: by sockets, files, browsers, and by not reading what it says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.api.test_connection import Kitchen, request, serve
from tests.api.wire import Wire
from tests.kernel.runtime_bench import Bench
from tests.live import LiveDaemon
from tests.patience import patient
from tests.threats.arena import outcome
from tiffin.api import guard
from tiffin.api import listener as listening
from tiffin.api.decode import check_content_type
from tiffin.api.listener import Listener
from tiffin.core.container import HostConfig
from tiffin.core.workload import LogTarget
from tiffin.errors import InvalidArgument
from tiffin.runtime import messages

pytestmark = pytest.mark.root

NOBODY = 65534
HANGS_SECONDS = 2.0  # of something that never ends: how long it is watched


def as_nobody(act: Callable[[], object]) -> bool:
    """Whether a user without rights can do it."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            act()
        except BaseException:  # noqa: BLE001
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def connect(path: str, kind: int = socket.SOCK_STREAM) -> None:
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(path)


@pytest.mark.threat("reachable-sockets")
def test_the_api_and_the_data_are_not_for_everybody(daemon: LiveDaemon) -> None:
    """Whoever can connect is root; whoever can read the data root has every image's setuid
    programs (CVE-2021-41091, CVE-2024-25621).

    Defence: the socket is 0660 and the group's, data lies in 0710 and 0700 directories, logs and
    states are root's.
    Seen to fail: with the modes of a careless umask, nobody does all of it.
    """
    os.chmod(daemon.root, 0o755)
    run = daemon.docker
    run("run", "-d", "--name", "box", "-v", "data:/v", "busybox", "sh", "-c", "echo x; sleep 1000")
    box = run("inspect", "-f", "{{.Id}}", "box").stdout.strip()
    log = run("inspect", "-f", "{{.LogPath}}", "box").stdout.strip()
    attempts: dict[str, Callable[[], object]] = {
        "the API": lambda: connect(daemon.socket),
        "the data": lambda: os.listdir(daemon.data_root),
        "the volume": lambda: os.listdir(f"{daemon.data_root}/volumes/data/_data"),
        "the database": lambda: Path(f"{daemon.data_root}/tiffin.db").read_bytes(),
        "the log": lambda: Path(log).read_bytes(),
        "the shim": lambda: connect(f"{daemon.run_root}/{box}/control.sock", socket.SOCK_SEQPACKET),
        "the request": lambda: Path(f"{daemon.run_root}/{box}/request.json").read_bytes(),
    }
    assert [name for name, act in attempts.items() if as_nobody(act)] == []

    for directory, _, names in os.walk(daemon.root):
        for path in (directory, *(f"{directory}/{name}" for name in names)):
            if not os.path.islink(path):
                os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | 0o777)
    assert [name for name, act in attempts.items() if as_nobody(act)] == list(attempts)
    run("rm", "-f", "-v", "box")


@pytest.mark.threat("reachable-sockets")
def test_a_shim_listens_to_root_alone() -> None:
    """A container with the host's network reaches abstract sockets of the host (CVE-2020-15257);
    one that is given the directory reaches ours.

    Defence: a socket with a path, 0600 in a 0700 directory, and SO_PEERCRED of who connects.
    Seen to fail: with directory and socket open to all, the answer is still none; a peer that is
    believed to be root is answered.
    """
    control = "control.sock"

    async def attack(bench: Bench) -> bool:
        box = bench.workload("sleep", "1000")
        await bench.start(box)
        directory = f"{bench.directory}/run/{box.id}"
        modes = [os.stat(path).st_mode & 0o777 for path in (directory, f"{directory}/{control}")]
        assert modes == [0o700, 0o600]
        for path in (bench.directory, f"{bench.directory}/run", directory):
            os.chmod(path, 0o755)
        os.chmod(f"{directory}/{control}", 0o666)

        def talk() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.settimeout(patient(60))
                client.connect(f"{directory}/{control}")
                client.send(messages.encode({"id": 1, "op": "state"}))
                assert client.recv(1 << 16)

        return await asyncio.to_thread(as_nobody, talk)

    assert outcome(attack) is False
    assert outcome(attack, without="peers") is True


@pytest.mark.threat("reachable-sockets")
def test_no_abstract_socket_is_ours(daemon: LiveDaemon) -> None:
    """Abstract sockets have no mode: every process in the network namespace may connect
    (CVE-2020-15257).

    Defence: there is none.
    Seen to fail: one that the test itself makes is found in the list.
    """
    daemon.docker("run", "-d", "--name", "quiet", "--network", "host", "busybox", "sleep", "1000")
    name = f"@{daemon.root}"

    def abstract() -> list[str]:
        lines = Path("/proc/net/unix").read_text().splitlines()
        words = [line.split()[-1] for line in lines if line.split()[-1].startswith("@")]
        return [word for word in words if "tiffin" in word or word == name]

    assert abstract() == []
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind("\0" + daemon.root)
        assert abstract() == [name]
    daemon.docker("rm", "-f", "quiet")


class Form:
    """A request as a browser's form sends it."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def header(self, name: str) -> str:
        return {"content-type": self._kind}.get(name, "")


@pytest.mark.threat("browsers")
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x=y", ""]
)
def test_a_browser_cannot_be_talked_into_a_request(kind: str) -> None:
    """A page makes the browser of somebody who may reach the API send a form there (CSRF), or
    turns its own name into the API's address (DNS rebinding).

    Defence: unix sockets unless TCP is asked for; a JSON body must be declared as one, which no
    form can without asking first, and there is no CORS to say yes.
    Seen to fail: the same check lets JSON pass.
    """
    with pytest.raises(InvalidArgument):
        check_content_type(Form(kind))  # type: ignore[arg-type]
    check_content_type(Form("application/json; charset=utf-8"))  # type: ignore[arg-type]


@pytest.mark.threat("browsers")
def test_a_name_that_was_made_to_point_here_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of evil.example makes its own name point to 127.0.0.1 (DNS rebinding): for the
    browser the API is then a part of the page.

    Defence: in clear text, which only loopback has, a request must name loopback as its host, and
    its origin must be that host.
    Seen to fail: with any name taken for this machine's the request is served.
    """

    async def ask(*headers: str) -> bytes:
        listener = Listener(Kitchen().router())
        bound = socket.create_server(("127.0.0.1", 0))
        await listener.serve(bound)
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        writer.write(
            "\r\n".join(["GET /hello HTTP/1.1", *headers, "Connection: close", "", ""]).encode()
        )
        answer = await reader.read()
        writer.close()
        await listener.close(0.1)
        return answer.split(b" ", 2)[1]

    evil = ("Host: evil.example:2375", "Origin: http://evil.example:2375")
    assert asyncio.run(ask(*evil)) == b"403"
    assert asyncio.run(ask("Host: 127.0.0.1", "Origin: http://evil.example")) == b"403"
    assert asyncio.run(ask("Host: 127.0.0.1:2375")) == b"200"
    monkeypatch.setattr(guard, "names_this_machine", lambda host: True)
    assert asyncio.run(ask(*evil)) == b"200"


@pytest.mark.threat("hostile-requests")
def test_traversal_bombs_and_smuggling_are_refused(daemon: LiveDaemon) -> None:
    """Ids that are paths, endlessly deep JSON, two lengths for one body, lengths that lie.

    Defence: ids are matched, never joined to paths; JSON by type, up to a size; framing is strict;
    a request that cannot be understood ends its connection.
    Seen to fail: the same requests without the fault are served.
    """

    def say(*lines: str, body: bytes = b"") -> int:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(patient(60))
            client.connect(daemon.socket)
            client.sendall("\r\n".join([*lines, "Host: x", "", ""]).encode() + body)
            client.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        return int(answer.split()[1]) if answer else 0

    deep = b'{"Image":' + b"[" * 200_000
    length = f"Content-Length: {len(deep)}"
    json = "Content-Type: application/json"
    create = "POST /containers/create HTTP/1.1"
    assert say("GET /containers/..%2f..%2fetc%2fpasswd/json HTTP/1.1") in (301, 404)
    assert say("GET /containers/../../etc/passwd HTTP/1.1") in (301, 404)
    assert say(create, json, length, body=deep) == 400
    # Each would be understood by one of the two rules: as an image that there is not.
    image = b'{"Image":"nono"}'
    size, chunked = len(image), "Transfer-Encoding: chunked"
    length, longer = f"Content-Length: {size}", f"Content-Length: {size + 1}"
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (size, image)
    assert say(create, json, length, body=image) == 404
    assert say(create, json, longer, body=image + b" ") == 404
    assert say(create, json, chunked, body=chunks) == 404
    assert say(create, json, length, longer, body=image + b" ") == 400
    assert say(create, json, longer, length, body=image + b" ") == 400
    assert say(create, json, f"Content-Length: {len(chunks)}", chunked, body=chunks) == 400
    assert say(create, json, chunked, f"Content-Length: {len(chunks)}", body=chunks) == 400
    assert say(create, json, chunked, chunked, body=chunks) == 400
    for written in (f"+{size}", f"{size}, {size}", f"0x{size:x}", f"{size}_", "-1"):
        assert say(create, json, f"Content-Length: {written}", body=image) == 400
    assert say("GET /_ping HTTP/1.1", "Connection: close") == 200
    assert "Traceback" not in daemon.log()


@pytest.mark.threat("hostile-requests")
def test_connections_are_counted(monkeypatch: pytest.MonkeyPatch, short_tmp: str) -> None:
    """A client that opens connections until descriptors run out stops everybody else's.

    Defence: no more than a number of connections; who comes then is hung up on.
    Seen to fail: with a larger number the client is served.
    """

    def statuses(limit: int) -> list[bytes]:
        monkeypatch.setattr(listening, "MAX_CONNECTIONS", limit)
        found: list[bytes] = []

        async def scene(_kitchen: object, _listener: object, path: str) -> None:
            clients = [await asyncio.open_unix_connection(path) for _ in range(2)]
            if limit > 1:
                clients[1][1].write(request("GET /hello"))
            found.append((await clients[1][0].read())[:12])
            for _, writer in clients:
                writer.close()

        serve(short_tmp, scene)
        return found

    assert statuses(1) == [b""]
    assert statuses(2) == [b"HTTP/1.1 200"]


@pytest.mark.threat("checkpoints")
@pytest.mark.parametrize("name", ["one", "../../../etc", "a\nb"])
def test_nothing_is_restored_from_a_checkpoint(daemon: LiveDaemon, name: str) -> None:
    """An archive of a checkpoint brings links, annotations and names of images of its own
    (CVE-2026-50195, -53489, -53492), and its name is joined to a path.

    Defence: checkpoints are not supported, and a request that names one is refused.
    Seen to fail: the same start without one is a start.
    """
    wire = Wire(daemon.socket)
    daemon.docker("create", "--name", "still", "busybox", "true")
    asked = f"/containers/still/start?checkpoint={quote(name)}"
    assert (wire("POST", asked).status, wire("POST", "/containers/still/start").status) == (
        400,
        204,
    )
    daemon.docker("rm", "-f", "still")


@pytest.mark.threat("slow-readers")
@pytest.mark.parametrize("by_exec", [False, True])
def test_output_that_nobody_reads_fills_nothing(by_exec: bool) -> None:
    """A client attaches, or starts an exec, and stops reading (CVE-2022-23471, CVE-2025-64329):
    what is kept for it grows without end.

    Defence: bounded buffers: what writes to a client that does not read waits for it; the shim's
    memory stays where it was.
    Seen to fail: without the bound it writes all of it, and the shim has it in memory.
    """
    megabytes = 64
    script = f"read x; dd if=/dev/zero bs=1M count={megabytes} 2>/dev/null; touch /done; sleep 1000"

    async def attack(bench: Bench, patience: float) -> tuple[bool, bool]:
        """Whether it came to its end; whether the shim has kept it."""
        argv = ("sleep", "1000") if by_exec else ("sh", "-c", script)
        log = LogTarget("") if not by_exec else LogTarget(f"{bench.directory}/log")
        box = bench.workload(*argv, open_stdin=True, log=log)
        first = (await bench.start(box)).pid
        if by_exec:
            _, peer = await bench.exec(box, "sh", "-c", script)
            assert peer is not None
        else:
            peer = await bench.attach(box)
        await peer.write(b"go\n")
        await peer.read_until(b"\0" * 65536)
        done = await _appears(bench.upper(box, "/done"), patience)
        fields = Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{fields[1]}/status").read_text()  # its parent's: the shim's
        peer.socket.close()
        return done, int(status.split("VmRSS:")[1].split()[0]) // 1024 > megabytes // 2

    assert outcome(lambda bench: attack(bench, HANGS_SECONDS)) == (False, False)
    weak = outcome(lambda bench: attack(bench, patient(60)), without="bounds")
    assert weak == (True, True)


async def _appears(path: str, patience: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            while not os.path.exists(path):
                await asyncio.sleep(0.02)
            return True
    return False


@pytest.mark.threat("own-network")
def test_a_container_has_a_network_of_its_own() -> None:
    """With the host's network a container listens on the host's addresses and reaches what is
    bound to its loopback.

    Defence: a network namespace for each container, unless the host's is asked for.
    Seen to fail: with --network=host the host's links are seen.
    """

    async def attack(bench: Bench, host: HostConfig) -> str:
        return await bench.shell("readlink /proc/self/ns/net", host=host)

    ours = os.readlink("/proc/self/ns/net") + "\n"
    assert outcome(lambda bench: attack(bench, HostConfig())) != ours
    assert outcome(lambda bench: attack(bench, HostConfig(network_mode="host"))) == ours
