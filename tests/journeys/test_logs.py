"""Log drivers through a real client: kept, rotated, compressed, sent elsewhere, read back."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import ssl
import stat
import threading
import time
from pathlib import Path

import pytest

from tests.certificates import make_certificates
from tests.live import LiveDaemon
from tests.patience import patient

pytestmark = pytest.mark.root

SECONDS = patient(60)
COUNT = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i of many; done"


def log_directory(daemon: LiveDaemon, name: str) -> Path:
    container_id = daemon.docker("inspect", "-f", "{{.Id}}", name).stdout.strip()
    return Path(daemon.data_root) / "containers" / container_id


def wait_for_compression(daemon: LiveDaemon, name: str) -> None:
    """Until all is said, and all that was rotated is compressed."""
    deadline, directory = time.monotonic() + SECONDS, log_directory(daemon, name)
    while time.monotonic() < deadline:
        if daemon.docker("logs", "-n", "1", name).stdout != "line 3000 of many\n":
            continue
        rotated = [name for name in os.listdir(directory) if re.search(r"log\.\d", name)]
        if len(rotated) >= 3 and all(name.endswith(".gz") for name in rotated):
            return
    raise AssertionError(f"not compressed: {os.listdir(directory)}")


def numbers(text: str) -> list[int]:
    return [int(line.split()[1]) for line in text.splitlines()]


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_rotated_and_compressed_logs_are_read_as_one(daemon: LiveDaemon, driver: str) -> None:
    options = ("--log-opt", "max-size=10k", "--log-opt", "max-file=4", "--log-opt", "compress=true")
    flags = ("-di", "--name", driver, "--log-driver", driver, *options)
    daemon.docker("run", *flags, "busybox", "sh", "-c", f"{COUNT}; read x")
    wait_for_compression(daemon, driver)
    daemon.docker("restart", "-t", "0", driver)
    wait_for_compression(daemon, driver)
    found = numbers(daemon.docker("logs", driver).stdout)
    assert found[-1] == 3000
    assert len(found) > 100
    steps = {after - before for before, after in itertools.pairwise(found)}
    assert steps <= {1, 1 - 3000}  # nothing is lost but at the old end
    assert numbers(daemon.docker("logs", "-n", "100", driver).stdout) == list(range(2901, 3001))
    shown = json.loads(daemon.docker("inspect", driver).stdout)[0]["HostConfig"]["LogConfig"]
    assert shown["Type"] == driver
    assert shown["Config"]["max-size"] == "10k"
    daemon.docker("rm", "-f", driver)


def test_a_follower_misses_nothing_over_rotations(daemon: LiveDaemon) -> None:
    options = ("--log-opt", "max-size=10k", "--log-opt", "max-file=99", "--log-opt", "compress=1")
    daemon.docker("create", "--name", "rolls", *options, "busybox", "sh", "-c", f"sleep 1; {COUNT}")
    daemon.docker("start", "rolls")
    assert numbers(daemon.docker("logs", "-f", "rolls").stdout) == list(range(1, 3001))
    daemon.docker("rm", "rolls")


def test_there_is_nothing_to_follow_of_a_container_that_never_ran(daemon: LiveDaemon) -> None:
    daemon.docker("create", "--name", "new", "busybox", "true")
    assert daemon.docker("logs", "-f", "new").stdout == ""
    assert "Traceback" not in daemon.log()
    daemon.docker("rm", "new")


def test_the_local_driver_keeps_bytes_that_are_no_text(daemon: LiveDaemon) -> None:
    said = b"\xff\xfe\x00\x01 bytes \x80\n"
    script = r"printf '\377\376\000\001 bytes \200\n'"
    run = ("run", "-d", "--name", "raw", "--log-driver", "local")
    daemon.docker(*run, "busybox", "sh", "-c", script)
    daemon.docker("wait", "raw")
    assert daemon.docker("logs", "raw", text=False).stdout == said
    daemon.docker("rm", "raw")


def test_details_and_times_of_a_local_log(daemon: LiveDaemon) -> None:
    flags = ("--log-driver", "local", "--log-opt", "labels=who", "--label", "who=me")
    daemon.docker("run", "--name", "told", *flags, "busybox", "echo", "hi")
    shown = daemon.docker("logs", "-t", "--details", "told").stdout
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z who=me hi\n", shown)
    assert daemon.docker("logs", "--since", "1h", "told").stdout == "hi\n"
    assert daemon.docker("logs", "--until", "1h", "told").stdout == ""
    daemon.docker("rm", "told")


def test_syslog_is_told_and_logs_reads_what_was_kept(daemon: LiveDaemon) -> None:
    path = f"{daemon.root}/log.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        server.settimeout(SECONDS)
        options = ("syslog-address=unix://" + path, "tag={{.Name}}", "syslog-facility=local0")
        flags = [word for option in options for word in ("--log-opt", option)]
        script = "echo out; echo err >&2"
        run = ("run", "--name", "told", "--log-driver", "syslog", *flags)
        daemon.docker(*run, "busybox", "sh", "-c", script)
        said = sorted(server.recv(4096) for _ in range(2))
    assert re.fullmatch(rb"<131>.* told\[\d+\]: err\n", said[0])
    assert re.fullmatch(rb"<134>.* told\[\d+\]: out\n", said[1])
    assert daemon.docker("logs", "told").stdout == "out\n"
    refused = daemon.docker("start", "told", check=False)  # nobody listens there any more
    assert refused.returncode == 1
    os.unlink(path)
    refused = daemon.docker("start", "told", check=False)
    assert f"failed to initialize logging driver: dial unix {path}" in refused.stderr
    daemon.docker("rm", "told")
    refused = daemon.docker(*run, "busybox", "true", check=False)
    assert f"stat {path}: no such file or directory" in refused.stderr


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = str(tmp_path_factory.mktemp("certificates"))
    make_certificates(directory)
    return directory


LAST = b"line 199\n"


def _secured(certificates: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificates}/server-cert.pem", f"{certificates}/server-key.pem")
    context.load_verify_locations(f"{certificates}/ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _receive(server: socket.socket, context: ssl.SSLContext, said: list[bytes]) -> None:
    """What the first connection says that says anything: the daemon only knocks."""
    while not said:
        try:
            connection, _ = server.accept()
        except OSError:  # shut down
            return
        connection.settimeout(SECONDS)
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(connection, server_side=True) as secured,
        ):
            while not (said and said[-1].endswith(LAST)) and (data := secured.recv(4096)):
                said.append(data)
        connection.close()


def test_syslog_is_told_by_tls(daemon: LiveDaemon, certificates: str) -> None:
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        receiving = threading.Thread(target=_receive, args=(server, _secured(certificates), said))
        receiving.start()
        options = (
            f"syslog-address=tcp+tls://127.0.0.1:{server.getsockname()[1]}",
            "syslog-format=rfc5424",
            f"syslog-tls-ca-cert={certificates}/ca.pem",
            f"syslog-tls-cert={certificates}/cert.pem",
            f"syslog-tls-key={certificates}/key.pem",
        )
        flags = [word for option in options for word in ("--log-opt", option)]
        script = "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; sleep 1000"
        run = ("run", "-d", "--name", "told", "--log-driver", "syslog", *flags)
        daemon.docker(*run, "busybox", "sh", "-c", script)
        receiving.join(SECONDS)
        daemon.docker("rm", "-f", "told")
    text = b"".join(said)
    assert re.match(rb"\d+ <30>1 ", text)
    assert re.findall(rb"- line (\d+)\n", text) == [b"%d" % number for number in range(200)]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("syslog-tls-ca-cert=/nope", "could not read /nope: no such file or directory"),
        ("syslog-facility=daemon", "tls: failed to verify certificate: x509: "),
    ],
)
def test_a_syslog_server_that_cannot_be_trusted_is_told_nothing(
    daemon: LiveDaemon, certificates: str, option: str, words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        said: list[bytes] = []
        context = _secured(certificates)
        receiving = threading.Thread(target=_receive, args=(server, context, said), daemon=True)
        receiving.start()
        address = f"syslog-address=tcp+tls://127.0.0.1:{server.getsockname()[1]}"
        flags = ("--log-driver", "syslog", "--log-opt", address, "--log-opt", option)
        refused = daemon.docker("run", "--name", "told", *flags, "busybox", "true", check=False)
        assert refused.returncode
        assert f"failed to initialize logging driver: {words}" in refused.stderr
        server.shutdown(socket.SHUT_RDWR)
        receiving.join(SECONDS)
    assert said == []
    daemon.docker("rm", "told")


def test_a_syslog_server_that_is_not_there_is_named(daemon: LiveDaemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    flags = ("--log-driver", "syslog", "--log-opt", f"syslog-address=tcp://127.0.0.1:{port}")
    refused = daemon.docker("run", "--name", "told", *flags, "busybox", "true", check=False)
    words = f"failed to initialize logging driver: dial tcp 127.0.0.1:{port}: connect: connection"
    assert words in refused.stderr
    daemon.docker("rm", "told")


def test_a_journal_is_told_or_refused_by_name_where_there_is_none(daemon: LiveDaemon) -> None:
    path = "/run/systemd/journal/socket"
    there = os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)
    flags = ("--name", "told", "--log-driver", "journald")
    ended = daemon.docker("run", *flags, "busybox", "echo", "hi", check=False)
    if there:
        assert daemon.docker("logs", "told").stdout == "hi\n"
    else:
        words = "failed to initialize logging driver: journald is not enabled on this host"
        assert words in ended.stderr
    daemon.docker("rm", "told")


def test_a_driver_that_nobody_has_is_refused(daemon: LiveDaemon, client: str) -> None:
    run = ("run", "--rm", "--log-driver", "gelf", "busybox", "true")
    refused = daemon.client(client)(*run, check=False)
    assert refused.returncode == 125
    assert "logger: no log driver named 'gelf' is registered" in refused.stderr


def test_no_log_is_no_log(daemon: LiveDaemon, client: str) -> None:
    daemon.docker("run", "--name", "told", "--log-driver", "none", "busybox", "echo", "hi")
    refused = daemon.client(client)("logs", "told", check=False)
    assert "configured logging driver does not support reading" in refused.stderr
    daemon.docker("rm", "told")


def test_a_daemon_may_have_a_driver_for_all_and_a_terminals_output_is_kept_as_it_was() -> None:
    flags = ("--log-driver", "local", "--log-opt", "max-size=1m")
    with LiveDaemon(*flags) as daemon:
        daemon.load_busybox()
        assert daemon.docker("info", "-f", "{{.LoggingDriver}}").stdout == "local\n"
        daemon.docker("run", "-t", "--name", "shown", "busybox", "echo", "hi")
        kept = daemon.docker("inspect", "-f", "{{json .HostConfig.LogConfig}}", "shown").stdout
        assert json.loads(kept) == {"Type": "local", "Config": {"max-size": "1m"}}
        assert daemon.docker("logs", "shown", text=False).stdout == b"hi\r\n"
        daemon.docker("run", "--name", "other", "--log-driver", "json-file", "busybox", "echo", "a")
        kept = daemon.docker("inspect", "-f", "{{json .HostConfig.LogConfig}}", "other").stdout
        assert json.loads(kept) == {"Type": "json-file", "Config": {}}
    assert daemon.leaks() == []
