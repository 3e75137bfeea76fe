"""A host of its own for network tests: namespaces that stand for machine, LAN and containers.

`Host` moves the test's thread into a fresh network namespace, so rules, bridges and sysctls of a
test meet nobody else's. A `Box` is a process in a further namespace; what is said and asked there
runs as short Python programs entered with nsenter.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import ExitStack
from typing import Any, TypeVar

from tests.patience import patient
from tiffin.core.container import Endpoint, PublishedPort
from tiffin.core.network import mac_of
from tiffin.kernel.mounts import CLONE_NEWNET
from tiffin.kernel.netlink import setns
from tiffin.network.bridge import Bridge

_T = TypeVar("_T")

_PYTHON = [sys.executable, "-I", "-S", "-c"]

_WAIT = "print('ready', flush=True)\nimport sys\nsys.stdin.read()\n"

# Each server answers with the address that it sees the client at.
_TCP_SERVER = """
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen()
print("ready", flush=True)
while True:
    c, peer = s.accept()
    with c:
        c.sendall((sys.argv[3] + " " + peer[0]).encode())
"""
_HTTP_SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = (sys.argv[3] + " " + self.client_address[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
server = HTTPServer((sys.argv[1], int(sys.argv[2])), Handler)
print("ready", flush=True)
server.serve_forever()
"""
_UDP_SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(100)
    s.sendto((sys.argv[3] + " " + peer[0]).encode(), peer)
"""
_TCP_CLIENT = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3]))
data = b""
while part := s.recv(100):
    data += part
print(data.decode())
"""
_HTTP_CLIENT = """
import sys
from http.client import HTTPConnection
c = HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=float(sys.argv[3]))
c.request("GET", "/")
print(c.getresponse().read().decode())
"""
_UDP_CLIENT = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(float(sys.argv[3]))
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b"hello")
print(s.recv(100).decode())
"""
_SERVERS = {"tcp": _TCP_SERVER, "http": _HTTP_SERVER, "udp": _UDP_SERVER}
_CLIENTS = {"tcp": _TCP_CLIENT, "http": _HTTP_CLIENT, "udp": _UDP_CLIENT}

# Refused is immediate everywhere; only what is dropped takes this long.
DROPPED_SECONDS = 0.6


class Place:
    """Somewhere to run programs: `enter` is the command's beginning."""

    def __init__(self, stack: ExitStack, enter: list[str]) -> None:
        self._stack = stack
        self._enter = enter

    def serve(self, kind: str, port: int, name: str, address: str = "0.0.0.0") -> None:
        """A server that answers `name` and the client's address, until the test ends."""
        self.start([*_PYTHON, _SERVERS[kind], address, str(port), name])

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*self._enter, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def ask(self, kind: str, address: str, port: int, seconds: float = patient(60)) -> str:
        """The server's answer, or "ConnectionRefusedError", "TimeoutError", ..."""
        done = subprocess.run(
            [*self._enter, *_PYTHON, _CLIENTS[kind], address, str(port), str(seconds)],
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode == 0:
            return done.stdout.strip()
        return done.stderr.strip().splitlines()[-1].split(":")[0]

    def shell(self, script: str) -> str:
        done = subprocess.run(
            [*self._enter, "sh", "-ec", script], capture_output=True, check=False, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class Box(Place):
    """A network namespace of its own, as a container has, held by a waiting process."""

    def __init__(self, stack: ExitStack, *, user_namespace: bool = False) -> None:
        user = ["--user", "--map-root-user"] if user_namespace else []
        super().__init__(stack, ["unshare", *user, "--net"])
        self.process = self.start([*_PYTHON, _WAIT])
        self.pid = self.process.pid
        self._enter = ["nsenter", "--target", str(self.pid), "--net"]
        self.id = os.urandom(32).hex()
        self.address = ""

    def endpoint(self, bridge_address: str, address: str) -> Endpoint:
        self.address = address
        gateway, prefix = bridge_address.split("/")
        mac = mac_of(address)
        return Endpoint("n" * 64, "bridge", "e" * 64, address, int(prefix), gateway, mac)

    def end(self) -> None:
        _end(self.process)


class Machine(Place):
    """The machine that the bridge is on: bridge, containers and an event loop for the test."""

    def __init__(self, stack: ExitStack) -> None:
        super().__init__(stack, [])
        self._runner = stack.enter_context(asyncio.Runner())
        self._count = 1

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(coroutine)

    def bridge(self, name: str, address: str, *, mtu: int = 1500) -> Bridge:
        """An open bridge; it and all on it is removed when the test ends."""
        bridge = Bridge(name, address, f"tiffin-{name}", mtu)
        self._stack.callback(lambda: self.run(bridge.close(keep=False)))
        self.run(bridge.open())
        return bridge

    def box(self, bridge: Bridge, address: str, **how: bool) -> Box:
        """A container with a free address on the bridge (`address` is the bridge's)."""
        box = Box(self._stack, **how)
        self._count += 1
        self.plug(bridge, box, address, f"{address.rpartition('.')[0]}.{self._count}")
        return box

    def plug(self, bridge: Bridge, box: Box, bridge_address: str, address: str) -> None:
        endpoint = box.endpoint(bridge_address, address)
        self.run(bridge.connect(box.id, endpoint, box.pid))

    def publish(
        self, bridge: Bridge, box: Box, port: int, *, protocol: str = "tcp", host_ip: str = ""
    ) -> int:
        """The host port that now leads to the box's; bound until the test ends."""
        bound, descriptor = bridge.reserve(PublishedPort(port, protocol, host_ip, 0))
        self._stack.callback(os.close, descriptor)
        endpoint = box.endpoint("0.0.0.0/24", box.address)
        self.run(bridge.publish(box.id, endpoint, [bound]))
        return bound.host_port


class Host(Machine):
    """A machine in a namespace of its own, with a neighbour in its LAN."""

    LAN_ADDRESS = "192.0.2.1"
    NEIGHBOUR_ADDRESS = "192.0.2.9"

    def __init__(self, stack: ExitStack) -> None:
        _move_to_new_namespace(stack)
        super().__init__(stack)
        self.shell("ip link set lo up")
        self.neighbour = Box(stack)
        self.shell(
            f"ip link add lan0 type veth peer name lan0 netns {self.neighbour.pid}\n"
            f"ip address add {self.LAN_ADDRESS}/24 dev lan0\n"
            "ip link set lan0 up\n"
        )
        self.neighbour.shell(
            f"ip address add {self.NEIGHBOUR_ADDRESS}/24 dev lan0\nip link set lan0 up\n"
        )


def _move_to_new_namespace(stack: ExitStack) -> None:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, home)
    away = Box(stack)
    there = os.open(f"/proc/{away.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(there, CLONE_NEWNET)
    finally:
        os.close(there)
    stack.callback(setns, home, CLONE_NEWNET)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
