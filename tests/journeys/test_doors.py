"""More doors: TCP behind client certificates, clear text on loopback, inherited sockets."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.tls import TLSConfig

from tests.certificates import make_certificates
from tests.live import CHECKOUT, LiveDaemon, docker_cli_version, patient

pytestmark = pytest.mark.root

PROXIES = {"http-proxy": "http://me:secret@proxy:3128", "no-proxy": "here"}


class Doors:
    """A daemon with a TLS door, its port, and who may pass it."""

    def __init__(self, daemon: LiveDaemon, certificates: str, config: Path) -> None:
        self.daemon = daemon
        self.certificates = certificates
        self.config = config
        found = re.search(r"API listen on 127\.0\.0\.1 port (\d+)", daemon.log())
        assert found
        self.port = int(found[1])

    def client(self, program: str, *words: str, folder: str = "", **options: object) -> str:
        finished = self.attempt(program, *words, folder=folder, **options)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def attempt(
        self, program: str, *words: str, folder: str = "", **options: object
    ) -> subprocess.CompletedProcess[str]:
        argv = self.daemon.argv(program, *words)
        environment = {
            **self.daemon.environment(),
            "DOCKER_HOST": f"tcp://127.0.0.1:{self.port}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": folder or self.certificates,
        }
        del environment["TIFFIN_HOST"]
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            argv,
            env=environment,
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
            **{"stdin": subprocess.DEVNULL} | options if "input" not in options else options,
        )


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with tempfile.TemporaryDirectory(prefix="tfncert") as folder:
        make_certificates(folder)
        config = Path(folder) / "daemon.json"
        settings = {"labels": ["a=b"], "default-shm-size": "1m", "init": True, "proxies": PROXIES}
        config.write_text(json.dumps(settings))
        flags = ["--tlsverify", "--tlscacert", f"{folder}/ca.pem", "-H", "tcp://127.0.0.1:0"]
        flags += ["--tlscert", f"{folder}/server-cert.pem", "--tlskey", f"{folder}/server-key.pem"]
        flags += ["--config-file", str(config), "--default-ulimit", "nofile=123:456"]
        with LiveDaemon(*flags) as daemon:
            daemon.load_busybox()
            yield Doors(daemon, folder, config)


def test_a_client_with_a_certificate_does_everything(doors: Doors, client: str) -> None:
    words = ("run", "--rm", "busybox", "sh", "-c", "echo hello; exit 3")
    found = doors.attempt(client, *words)
    assert (found.stdout, found.stderr, found.returncode) == ("hello\n", "", 3)


def test_input_may_end_before_the_output_does(doors: Doors, client: str) -> None:
    words = ("run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo end")
    text = "line\n" * 50_000
    assert doors.client(client, *words, input=text) == text + "end\n"


def test_a_context_carries_its_certificates(doors: Doors, client: str) -> None:
    folder, name = doors.certificates, f"by-{client}"
    keys = f"ca={folder}/ca.pem,cert={folder}/cert.pem,key={folder}/key.pem"
    environment = doors.daemon.environment()
    del environment["DOCKER_HOST"], environment["TIFFIN_HOST"]

    def run(program: str, *words: str) -> str:
        return subprocess.run(
            doors.daemon.argv(program, *words),
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    run(client, "context", "create", name, "--docker", f"host=tcp://127.0.0.1:{doors.port},{keys}")
    for program in ("docker", "tiffin"):  # both find it, whoever made it
        shown = run(program, "--context", name, "version", "-f", "{{.Client.Context}}")
        assert shown == f"{name}\n"


SSH = """#!/bin/sh
echo "$@" >>{log}
while [ "$1" != -- ]; do shift; done
shift 2
PATH={there}:$PATH exec sh -c "$*"
"""


def test_a_daemon_is_reached_through_ssh(doors: Doors, client: str, tmp_path: Path) -> None:
    """`ssh` here runs the command on this machine, where `docker` is ours as well."""
    if client == "docker" and docker_cli_version() < (23,):
        pytest.skip("an older docker command line takes no path after ssh://")
    log, there = tmp_path / "log", tmp_path / "there"
    there.mkdir()
    ours = f'#!/bin/sh\nexec {CHECKOUT}/script/tiffin "$@"\n'
    program(tmp_path / "ssh", SSH.format(log=log, there=there))
    program(there / "tiffin", ours)
    program(there / "docker", ours)
    host = f"ssh://me@there:2222{doors.daemon.socket}"
    environment = {**doors.daemon.environment(), "DOCKER_HOST": host, "TIFFIN_HOST": host}
    words = ("run", "-i", "--rm", "busybox", "sh", "-c", "cat; exit 4")
    found = subprocess.run(
        doors.daemon.argv(client, *words),
        env={**environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        input="typed\n",
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert (found.stdout, found.returncode) == ("typed\n", 4), found.stderr
    assert "-l me -p 2222 -- there" in log.read_text()
    assert "system dial-stdio" in log.read_text()


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_docker_py_speaks_tls(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    ):  # requests prefers them to what it is told
        monkeypatch.delenv(name, raising=False)
    tls = TLSConfig(
        client_cert=(f"{doors.certificates}/cert.pem", f"{doors.certificates}/key.pem"),
        ca_cert=f"{doors.certificates}/ca.pem",
        verify=True,
    )
    client = docker.DockerClient(f"https://127.0.0.1:{doors.port}", tls=tls)
    try:
        assert client.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
    finally:
        client.close()


def test_a_stranger_is_turned_away(doors: Doors, client: str) -> None:
    found = doors.attempt(client, "ps", folder=f"{doors.certificates}/stranger")
    assert found.returncode == 1
    assert "remote error: tls: unknown certificate authority" in found.stderr


def test_a_daemon_must_prove_who_it_is(doors: Doors, client: str, tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        shutil.copy(f"{doors.certificates}/{name}", tmp_path)
    shutil.copy(f"{doors.certificates}/stranger/cert.pem", tmp_path / "ca.pem")
    found = doors.attempt(client, "ps", folder=str(tmp_path))
    assert found.returncode == 1
    words = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    assert words in found.stderr


def test_clear_text_is_told_at_a_tls_door_that_it_is(doors: Doors, client: str) -> None:
    with socket.create_connection(("127.0.0.1", doors.port), patient(60)) as raw:
        raw.sendall(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with raw.makefile("rb") as said:
            assert said.read().startswith(b"HTTP/1.0 400 Bad Request\r\n")
    host = f"tcp://127.0.0.1:{doors.port}"
    found = subprocess.run(
        doors.daemon.argv(client, "-H", host, "ps"),
        env={"PATH": os.environ["PATH"], "HOME": str(doors.config.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1
    assert found.stderr.endswith("Client sent an HTTP request to an HTTPS server.\n")


def test_bytes_of_no_kind_get_no_answer_at_a_tls_door(doors: Doors) -> None:
    with socket.create_connection(("127.0.0.1", doors.port), patient(60)) as raw:
        raw.sendall(b"\0\1\2 GET /_ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            said = raw.recv(4096)
        except ConnectionResetError:
            said = b""
    assert b"HTTP" not in said


def test_defaults_of_the_daemon_reach_containers(doors: Doors) -> None:
    run = doors.daemon.docker
    words = "ulimit -n; ulimit -Hn; df -k /dev/shm | tail -1; cat /proc/1/cmdline"
    shown = run("run", "--rm", "busybox", "sh", "-c", words).stdout.split()
    assert shown[:2] == ["123", "456"]
    assert shown[3] == "1024"
    assert not shown[-1].startswith("sh")
    assert run("info", "-f", "{{.Labels}}").stdout == "[a=b]\n"


def test_a_proxys_password_is_not_told(doors: Doors) -> None:
    shown = doors.daemon.docker("info", "-f", "{{.HTTPProxy}} {{.NoProxy}}").stdout
    assert shown == "http://xxxxx:xxxxx@proxy:3128 here\n"


def test_a_reload_takes_over_what_may_change(doors: Doors) -> None:
    daemon = doors.daemon
    words = ["events", "--filter", "type=daemon", "--format", "{{json .}}", "--since", "1"]
    listening = subprocess.Popen(
        daemon.argv("docker", *words),
        env=daemon.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        now = {"labels": ["c=d"], "debug": True, "init": False, "default-shm-size": "2m"}
        now |= {"runtimes": {"other": {"path": "/no/such"}}, "proxies": PROXIES}
        doors.config.write_text(json.dumps(now))
        os.kill(daemon.pid, signal.SIGHUP)
        assert listening.stdout
        event = json.loads(listening.stdout.readline())
    finally:
        listening.kill()
        listening.communicate()
    assert event["Action"] == "reload"
    assert event["Actor"]["ID"] == daemon.docker("info", "-f", "{{.ID}}").stdout.strip()
    assert event["Actor"]["Attributes"]["labels"] == '["c=d"]'
    assert event["Actor"]["Attributes"]["debug"] == "true"
    assert daemon.docker("info", "-f", "{{.Labels}} {{.Debug}}").stdout == "[c=d] true\n"
    assert event["Actor"]["Attributes"]["default-shm-size"] == str(2 << 20)
    assert event["Actor"]["Attributes"]["runtimes"] == "other:/no/such"
    shown = daemon.docker("run", "--rm", "busybox", "df", "-k", "/dev/shm").stdout.split()
    assert shown[-5] == "2048"
    assert "other" in daemon.docker("info", "-f", "{{.Runtimes}}").stdout
    assert "take effect at the next start only: init" in daemon.log()


def test_clear_text_is_served_on_loopback_to_who_insists() -> None:
    with LiveDaemon("-H", "tcp://127.0.0.1:0", "--tls=false") as daemon:
        daemon.load_busybox()
        found = re.search(r"API listen on 127\.0\.0\.1 port (\d+)", daemon.log())
        assert found
        host = f"tcp://127.0.0.1:{found[1]}"
        for program in ("docker", "tiffin"):
            words = ("-H", host, "run", "-i", "--rm", "busybox", "cat")
            environment = {**daemon.environment(), "DOCKER_HOST": host, "TIFFIN_HOST": host}
            argv = daemon.argv(program, *words)
            shown = subprocess.run(
                argv, env=environment, input="x\n", capture_output=True, text=True, check=True
            )
            assert shown.stdout == "x\n"
        with socket.create_connection(("127.0.0.1", int(found[1])), patient(60)) as raw:
            raw.sendall(b"GET /_ping HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 403 ")


ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = "1"
os.execv(sys.executable, [sys.executable, "-m", "tiffin.daemon", *sys.argv[2:]])
"""


def test_a_service_manager_may_open_the_socket() -> None:
    live = LiveDaemon()  # for its places; the daemon here is started otherwise
    listener, notifications = bound(live.socket), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notifications.bind(f"{live.root}/notify")
    notifications.settimeout(patient(60))
    words = ["-H", "fd://", "--data-root", live.data_root, "--exec-root", live.run_root]
    words += ["--bip", f"{live.subnet}.1/24"]
    with open(live.log_path, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *words],
            cwd=CHECKOUT,
            env={**os.environ, "NOTIFY_SOCKET": f"{live.root}/notify"},
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
        )
    try:
        assert notifications.recv(100).startswith(b"READY=1"), live.log()
        assert live.docker("version", "-f", "{{.Server.Version}}").stdout.strip()
    finally:
        process.terminate()
        process.wait(patient(60))
        listener.close()
        notifications.close()
        left = Path(live.socket).exists()
        live._put_away()
    assert left  # it is not the daemon's to remove


def bound(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    return listener
