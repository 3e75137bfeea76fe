"""The default daemon, started by root's CLI when it is not running; and `tiffin daemon` itself.

It gets a session of its own, a clean environment and none of our descriptors, so that whoever
waits for the end of our output (`id=$(tiffin run -d ...)`) does not wait for the daemon's.
"""

from __future__ import annotations

import fcntl
import posix
import select
import sys

from tiffin.cli.failures import CommandFailed, DaemonDown
from tiffin.cli.options import Command
from tiffin.cli.output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from tiffin.cli.client import Client
    from tiffin.cli.options import Arguments

RUN_ROOT = "/run/tiffin"
DATA_ROOT = "/var/lib/tiffin"
LOG_FILE = f"{DATA_ROOT}/daemon.log"
READY_VARIABLE = b"TIFFIN_READY_FD"
READY_FD = 3
PATIENCE_SECONDS = 60

_KEPT = (
    b"HOME", b"LANG", b"LC_ALL", b"LC_CTYPE", b"PATH", b"SSL_CERT_DIR", b"SSL_CERT_FILE",
    b"TMPDIR", b"TZ",
)  # fmt: skip
_DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def start_daemon(host: str) -> None:
    """Returns when the default daemon serves, whoever started it. DaemonDown if not root."""
    if posix.geteuid() != 0:
        raise DaemonDown(host, " It needs root: run this as root once, and it is started.")
    lock = _take_lock()
    try:
        if _answers(host):
            return
        pid = _launch()
    finally:
        posix.close(lock)
    complain(f"tiffin: started the daemon (pid {pid})")


def _take_lock() -> int:
    """Two CLIs at once start one daemon: the second finds it running."""
    _make_directory(RUN_ROOT, 0o755)
    _make_directory(DATA_ROOT, 0o710)
    lock = posix.open(f"{RUN_ROOT}/start.lock", posix.O_RDWR | posix.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _make_directory(path: str, mode: int) -> None:
    try:
        posix.mkdir(path, mode)
    except FileExistsError:
        pass


def _answers(host: str) -> bool:
    from tiffin.cli.dialing import dial

    try:
        dial(host).close()
    except OSError:
        return False
    return True


def _launch() -> int:
    """Starts it, waits until it says that it serves, and returns its pid."""
    ours, theirs = posix.pipe()
    child = posix.fork()
    if child == 0:
        _become_grandchild(theirs)
    posix.close(theirs)
    posix.waitpid(child, 0)
    said = _hear(ours)
    posix.close(ours)
    pid, _, words = said.partition(b"\n")
    if not words.startswith(b"ready"):
        raise CommandFailed(_death_notice(words))
    return int(pid)


def _hear(descriptor: int) -> bytes:
    """What comes until `ready`, the end of the pipe, or the end of our patience."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    said = b""
    while not said.endswith(b"ready\n") and poll.poll(PATIENCE_SECONDS * 1000):
        piece = posix.read(descriptor, 4096)
        if not piece:
            break
        said += piece
    return said


def _death_notice(words: bytes) -> str:
    try:
        with open(LOG_FILE, "rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - 2000, 0))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    last = words.decode("utf-8", "replace").strip() or (lines[-1] if lines else "it said nothing")
    return f"tiffin: the daemon did not start: {last} (see {LOG_FILE})"


def _become_grandchild(ready: int) -> NoReturn:
    """In the child: forks once more, so that init adopts the daemon, and executes it."""
    try:
        posix.setsid()
        if posix.fork() != 0:
            posix._exit(0)  # noqa: SLF001
        posix.write(ready, b"%d\n" % posix.getpid())
        _arrange_descriptors(ready)
        posix.chdir("/")
        posix.umask(0o022)
        command = daemon_command([])
        posix.execve(command[0], command, _environment())
    except OSError as error:
        posix.write(READY_FD, f"{error}\n".encode())
    finally:
        posix._exit(1)  # noqa: SLF001


def _arrange_descriptors(ready: int) -> None:
    """Nothing in, the log out, the pipe at READY_FD, and nothing else."""
    log = posix.open(LOG_FILE, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND, 0o640)
    null = posix.open("/dev/null", posix.O_RDONLY)
    # The pipe may sit where another one is to go: move all out of the way first.
    high = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (null, log, ready)]
    for descriptor, place in zip((*high[:2], high[1], high[2]), (0, 1, 2, READY_FD), strict=True):
        posix.dup2(descriptor, place, inheritable=True)
    posix.closerange(READY_FD + 1, 1 << 20)


def _environment() -> dict[bytes, bytes]:
    ours: dict[bytes, bytes] = posix.environ
    kept = {
        name: value
        for name, value in ours.items()
        if name in _KEPT or name.lower().endswith(b"_proxy")
    }
    kept.setdefault(b"PATH", _DEFAULT_PATH)
    kept[READY_VARIABLE] = b"%d" % READY_FD
    return kept


def daemon_command(words: list[str]) -> list[str]:
    """The daemon wants `site` (its dependencies), which the CLI starts without."""
    main = __file__.rpartition("/cli/")[0] + "/__main__.py"
    return [sys.executable, "-I", main, "daemon", *words]


def become_daemon(words: list[str]) -> NoReturn:
    """`tiffin daemon ...`: this process goes on as the daemon."""
    command = daemon_command(words)
    posix.execv(command[0], command)
    raise AssertionError("execv returned")


def _never(_client: Client, _arguments: Arguments) -> None:
    raise AssertionError("`daemon` parses its own command line")


DAEMON = Command(_never, " [OPTIONS]", "Serve the Docker Engine API (its options are dockerd's)")
