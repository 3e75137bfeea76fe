"""Where no daemon runs and none is named, root's CLI starts one: once, apart, and ready."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from tests.patience import patient

pytestmark = pytest.mark.root

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# A CLI whose default daemon lives in a directory of ours and is the fake one.
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from tiffin.cli import main, start_daemon, targeting
targeting.DEFAULT_HOST = "unix://{home}/d.sock"
if sys.argv[1] == "as-nobody":
    del sys.argv[1]
    start_daemon.posix.geteuid = lambda: 65534
start_daemon.RUN_ROOT = "{home}/run"
start_daemon.DATA_ROOT = "{home}/data"
start_daemon.LOG_FILE = "{home}/data/daemon.log"
start_daemon.daemon_command = lambda words: [sys.executable, "{home}/daemon.py"]
sys.exit(main.main(sys.argv[1:]))
"""
DAEMON = """
import os, sys
sys.path.insert(0, {root!r})
print("daemon speaks", flush=True)
open("{home}/pids", "a").write(str(os.getpid()) + "\\n")
with open("{home}/descriptors", "w") as file:
    for each in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            print(each, os.readlink("/proc/self/fd/" + each), file=file)
        except OSError:
            pass
with open("{home}/state", "w") as file:
    print(os.getsid(0) != os.getppid(), os.getcwd(), sorted(os.environ), file=file)
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")
    def log_message(self, *_): pass
server = UnixStreamServer("{home}/d.sock", Handler)
os.write(int(os.environ["TIFFIN_READY_FD"]), b"ready\\n")
os.close(int(os.environ["TIFFIN_READY_FD"]))
server.serve_forever()
"""


@pytest.fixture
def home() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="tfn")
    for name, text in (("cli.py", PROGRAM), ("daemon.py", DAEMON)):
        with open(f"{directory}/{name}", "w") as file:
            file.write(text.format(root=ROOT, home=directory))
    yield directory
    for pid in pids(directory):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(directory)


def pids(home: str) -> list[int]:
    try:
        with open(f"{home}/pids") as file:
            return [int(line) for line in file]
    except FileNotFoundError:
        return []


def start_cli(home: str, *words: str, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, f"{home}/cli.py", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "SECRET": "x", "https_proxy": "p"},
        **options,  # type: ignore[call-overload]
    )


def test_the_daemon_is_started_and_said_so_once(home: str) -> None:
    # Reading to the end of both pipes ends only when the daemon holds neither.
    out, err = start_cli(home, "ps", "-q").communicate(timeout=patient(60))
    again = start_cli(home, "ps", "-q").communicate(timeout=patient(60))

    assert (out, err) == ("", f"tiffin: started the daemon (pid {pids(home)[0]})\n")
    assert again == ("", "")


def test_the_daemon_has_nothing_of_ours(home: str) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    start_cli(home, "ps", pass_fds=(theirs,)).communicate(timeout=patient(60))
    os.close(theirs)

    assert os.read(ours, 1) == b""  # it is ours alone now, so the daemon does not hold it
    os.close(ours)
    with open(f"{home}/descriptors") as file:
        kept = [line.split()[1].partition(":")[0] for line in file][:4]
    log = f"{home}/data/daemon.log"
    assert kept == ["/dev/null", log, log, "pipe"]
    with open(f"{home}/state") as file:
        state = file.read()
    assert state.startswith("True / ")
    assert "SECRET" not in state
    assert "https_proxy" in state


def test_two_at_once_start_one_daemon(home: str) -> None:
    both = [start_cli(home, "ps", "-q") for _ in range(2)]
    said = [each.communicate(timeout=patient(60))[1] for each in both]

    assert [each.returncode for each in both] == [0, 0]
    assert len(pids(home)) == 1
    assert sorted(map(bool, said)) == [False, True]


def test_a_daemon_that_dies_is_explained(home: str) -> None:
    with open(f"{home}/daemon.py", "w") as file:
        file.write("print('no space left', flush=True)\nraise SystemExit(1)\n")
    cli = start_cli(home, "ps")
    _, err = cli.communicate(timeout=patient(60))

    assert cli.returncode == 1
    assert err == (
        f"tiffin: the daemon did not start: no space left (see {home}/data/daemon.log)\n"
    )


def test_without_root_there_is_one_line(home: str) -> None:
    cli = start_cli(home, "as-nobody", "ps")
    out, err = cli.communicate(timeout=patient(60))

    assert (out, cli.returncode) == ("", 1)
    assert err == (
        f"Cannot connect to the Docker daemon at unix://{home}/d.sock. "
        "Is the docker daemon running? It needs root: run this as root once, and it is started.\n"
    )
