"""Networks as users meet them: published ports, names, and what must stay out of reach."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.live import LiveDaemon
from tests.patience import patient

pytestmark = pytest.mark.root

WEB = "echo hello > /i; exec httpd -f -p 80 -h /"
ECHO = """
import socket
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    data, asker = server.recvfrom(100)
    server.sendto(data, asker)
"""


def host_address() -> str:
    """An address of this machine that is not its loopback; a made one if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.99", 9))
        except OSError:
            pytest.skip("this machine has no network")
        address: str = probe.getsockname()[0]
        return address


@pytest.fixture
def web(daemon: LiveDaemon, client: str) -> Iterator[tuple[str, int]]:
    """A container that serves HTTP on a published port: its name and that port."""
    run = daemon.client(client)
    name = f"web-{client}"
    run("run", "-d", "-p", "80", "--name", name, "busybox", "sh", "-c", WEB)
    port = int(run("port", name, "80").stdout.splitlines()[0].rpartition(":")[2])
    run("exec", name, "sh", "-c", "until wget -qO /dev/null http://127.0.0.1/i; do :; done")
    yield name, port
    run("rm", "-f", name)


def fetch(address: str, port: int) -> str:
    with socket.create_connection((address, port), timeout=patient(60)) as connection:
        connection.sendall(b"GET /i HTTP/1.0\r\n\r\n")
        return connection.makefile().read()


def test_a_published_port_is_reached_from_everywhere(
    daemon: LiveDaemon, client: str, web: tuple[str, int]
) -> None:
    name, port = web
    run = daemon.client(client)
    own = run("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name).stdout.strip()
    for address in ("127.0.0.1", "127.7.7.7", host_address(), f"{daemon.subnet}.1"):
        assert fetch(address, port).endswith("\nhello\n"), address
    assert fetch(own, 80).endswith("\nhello\n")
    for address in (host_address(), f"{daemon.subnet}.1"):
        url = f"http://{address}:{port}/i"
        assert run("run", "--rm", "busybox", "wget", "-qO-", url).stdout == "hello\n"
        assert run("exec", name, "wget", "-qO-", url).stdout == "hello\n"  # its own, from inside
    assert run("run", "--rm", "busybox", "wget", "-qO-", f"http://{own}/i").stdout == "hello\n"
    assert run(
        "run", "--rm", "--network", "host", "busybox", "wget", "-qO-", f"http://127.0.0.1:{port}/i"
    ).stdout == "hello\n"  # fmt: skip


def test_a_published_udp_port_answers(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"echo-{client}"
    flags = ("-p", "53/udp", "-v", "/:/host:ro", "--entrypoint", "chroot")
    run("run", "-d", *flags, "--name", name, "busybox", "/host", sys.executable, "-c", ECHO)
    port = int(run("port", name, "53/udp").stdout.splitlines()[0].rpartition(":")[2])
    run("exec", name, "sh", "-c", "until grep -q ':0035' /proc/net/udp; do :; done")
    for address in ("127.0.0.1", host_address(), f"{daemon.subnet}.1"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(patient(60))
            asker.connect((address, port))  # an answer from another address is not taken
            for number in range(3):
                asker.send(b"ping %d" % number)
                assert asker.recv(100) == b"ping %d" % number
    asking = (
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.settimeout(60);"
        f" s.connect(({host_address()!r}, {port})); s.send(b'hi'); print(s.recv(9).decode())"
    )
    flags = ("-v", "/:/host:ro", "--entrypoint", "chroot")
    finished = run("run", "--rm", *flags, "busybox", "/host", sys.executable, "-c", asking)
    assert finished.stdout == "hi\n"
    run("rm", "-f", name)


def test_a_port_of_one_address_is_not_on_another(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"local-{client}"
    run("run", "-d", "-p", "127.0.0.1:18095:80", "--name", name, "busybox", "sh", "-c", WEB)
    assert run("port", name).stdout == "80/tcp -> 127.0.0.1:18095\n"
    run("exec", name, "sh", "-c", "until wget -qO /dev/null http://127.0.0.1/i; do :; done")
    assert fetch("127.0.0.1", 18095).endswith("hello\n")
    with pytest.raises(OSError):
        fetch(host_address(), 18095)
    run("rm", "-f", name)


def test_a_range_of_ports_is_published_one_by_one(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    name = f"range-{client}"
    run("run", "-d", "-p", "18090-18092:80-82", "--name", name, "busybox", "sleep", "1000")
    lines = [line for line in run("port", name).stdout.splitlines() if "[::]" not in line]
    assert lines == [f"{80 + n}/tcp -> 0.0.0.0:{18090 + n}" for n in range(3)]
    run("rm", "-f", name)


def test_the_hosts_loopback_cannot_be_reached(daemon: LiveDaemon, client: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = (
            f"for a in 127.0.0.1 {daemon.subnet}.1 {host_address()}; do"
            f" nc -w 1 $a {port} </dev/null && echo reached $a; done;"
            f" ip route add 127.0.0.9/32 via {daemon.subnet}.1 2>/dev/null &&"
            f" nc -w 1 127.0.0.9 {port} </dev/null && echo reached; true"
        )
        for flags in ((), ("--cap-add", "NET_ADMIN")):
            finished = daemon.client(client)("run", "--rm", *flags, "busybox", "sh", "-c", script)
            assert finished.stdout == ""
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_a_program_of_the_host_holds_is_refused(
    daemon: LiveDaemon, client: str, kind: socket.SocketKind
) -> None:
    run = daemon.client(client)
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("0.0.0.0", 0))
        if kind == socket.SOCK_STREAM:
            holder.listen()
        port = holder.getsockname()[1]
        publish = f"{port}:80/{protocol}"
        refused = run("run", "--rm", "-p", publish, "busybox", "true", check=False)
        assert refused.returncode == 125
        assert "bind: address already in use" in refused.stderr
        assert f"0.0.0.0:{port}" in refused.stderr
    assert run("run", "--rm", "-p", publish, "busybox", "echo", "free").stdout == "free\n"
    # The other way round: no program of the host gets what is published.
    name = f"kept-{client}"
    run("run", "-d", "-p", publish, "--name", name, "busybox", "sleep", "1000")
    with socket.socket(socket.AF_INET, kind) as late, pytest.raises(OSError, match="in use"):
        late.bind(("0.0.0.0", port))
    run("rm", "-f", name)


def test_a_container_joins_anothers_network(
    daemon: LiveDaemon, client: str, web: tuple[str, int]
) -> None:
    run = daemon.client(client)
    join = ("--network", f"container:{web[0]}")
    assert run("run", "--rm", *join, "busybox", "wget", "-qO-", "http://127.0.0.1/i").stdout == (
        "hello\n"
    )
    hosts = run("exec", web[0], "cat", "/etc/hosts", "/etc/hostname").stdout
    assert run("run", "--rm", *join, "busybox", "cat", "/etc/hosts", "/etc/hostname").stdout == (
        hosts
    )
    refused = run("run", "--rm", *join, "-p", "99:99", "busybox", "true", check=False)
    assert refused.returncode == 125
    assert "conflicting options: port publishing and the container type network mode" in (
        refused.stderr
    )
    for network, words in (
        ("container:nono", "No such container: nono"),
        ("nono", "network nono not found"),
    ):
        missing = run("run", "--rm", "--network", network, "busybox", "true", check=False)
        assert missing.returncode == 125
        assert f"{client}: Error response from daemon: {words}" in missing.stderr


def test_every_container_has_an_address_of_its_own_and_gives_it_back(
    daemon: LiveDaemon, client: str
) -> None:
    run = daemon.client(client)
    names = [f"address-{client}-{number}" for number in range(3)]
    for name in names:
        run("run", "-d", "--name", name, "busybox", "sleep", "1000")
    form = "{{.NetworkSettings.Networks.bridge.IPAddress}} {{.NetworkSettings.Gateway}}"
    told = run("inspect", "-f", form, *names).stdout.splitlines()
    addresses = [line.split()[0] for line in told]
    assert len(set(addresses)) == 3
    assert all(line.endswith(f" {daemon.subnet}.1") for line in told)
    seen = run("exec", names[0], "ip", "-4", "addr", "show", "eth0").stdout
    assert f"{addresses[0]}/24" in seen
    network = run("network", "inspect", "-f", "{{json .Containers}}", "bridge").stdout
    assert all(f'"Name":"{name}"' in network for name in names)
    run("rm", "-f", *names)
    assert run("network", "inspect", "-f", "{{json .Containers}}", "bridge").stdout == "{}\n"


def test_names_are_resolved_as_it_was_asked_for(daemon: LiveDaemon, client: str) -> None:
    run = daemon.client(client)
    flags = ("--dns", "10.1.2.3", "--dns-search", "example.org", "--dns-option", "ndots:3")
    seen = run("run", "--rm", *flags, "busybox", "cat", "/etc/resolv.conf").stdout
    lines = [line for line in seen.splitlines() if not line.startswith("#")]
    assert [line for line in lines if line] == [
        "nameserver 10.1.2.3",
        "search example.org",
        "options ndots:3",
    ]
    host = run("run", "--rm", "--network", "host", "busybox", "cat", "/etc/resolv.conf").stdout
    with open("/etc/resolv.conf", encoding="utf-8") as file:
        assert _servers(host) == _servers(file.read())
    assert run("run", "--rm", "busybox", "sh", "-c", "echo x >> /etc/hosts && tail -1 /etc/hosts"
               ).stdout == "x\n"  # fmt: skip


def test_the_daemons_own_dns_servers_are_every_containers() -> None:
    with LiveDaemon("--dns", "10.9.9.9") as live:
        live.load_busybox()
        seen = live.docker("run", "--rm", "busybox", "cat", "/etc/resolv.conf").stdout
        assert _servers(seen) == ["10.9.9.9"]
    assert live.leaks() == []


def test_many_connections_go_through_a_published_port(
    daemon: LiveDaemon, client: str, web: tuple[str, int]
) -> None:
    answers: list[str] = []
    askers = [
        threading.Thread(target=lambda: answers.append(fetch("127.0.0.1", web[1])))
        for _ in range(30)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(patient(60))
    assert [answer.endswith("hello\n") for answer in answers] == [True] * 30


def test_nothing_is_left_of_a_networks_work_when_the_daemon_ends() -> None:
    with LiveDaemon() as live:
        live.load_busybox()
        before = set(os.listdir("/sys/class/net"))
        for number in range(3):
            live.docker("run", "-d", "-p", "80", "--name", f"n{number}", "busybox", "sleep", "100")
        assert len(set(os.listdir("/sys/class/net")) - before) >= 3
        live.remove_containers()
        live.docker("run", "--rm", "busybox", "true")
    assert live.leaks() == []
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r"\bmaster tfn", links)


def _servers(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")]
