"""The daemon, and the composition root: settings, objects, recovery, serving, signals.

    tiffin daemon [-H unix:///path]... [--data-root DIR] [--exec-root DIR] [...]

Flags and configuration keys are dockerd's (tiffin.configuration). Containers go on when the daemon
ends; the next one finds them again. SIGHUP reads the configuration file anew.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from tiffin import __version__, activation
from tiffin.api.server import Server
from tiffin.cli.failures import WrongUsage
from tiffin.configuration.hosts import InheritedDoor, TcpDoor, UnixDoor, check_tcp
from tiffin.configuration.options import Asked, DaemonOptions, parse_options
from tiffin.configuration.reload import Reloading
from tiffin.core.container import Container
from tiffin.engine import exhaustion, goodbye, stacks
from tiffin.engine.engine import Engine
from tiffin.errors import EngineFailure, InvalidArgument, TiffinError
from tiffin.kernel import allocator
from tiffin.logs import set_level, set_up_logging

if TYPE_CHECKING:
    import socket

    from tiffin.api.doorkeeper import Doorkeeper
    from tiffin.api.tlskeeper import TlsKeeper

log = logging.getLogger("tiffin")

READY_FD = (
    "TIFFIN_READY_FD"  # who starts us may name a descriptor: it reads "ready\n" once we serve
)


async def run(options: DaemonOptions, argv: Sequence[str] = ()) -> None:
    """Serve until SIGTERM or SIGINT. `argv` is what a reload starts from."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _show_stacks_on_request(loop)
    exhaustion.prepare(loop)
    keeper = _tls_door(options)
    left: list[Container] = []  # that nobody will find again
    async with AsyncExitStack() as stack:
        if keeper is not None:
            keeper.attend()
            stack.push_async_callback(keeper.close)
        engine = await Engine.open(options.settings)
        stack.push_async_callback(engine.close)
        server = Server(engine)
        reloading = Reloading(options, argv, engine.reload, set_level)
        stack.push_async_callback(lambda: server.close(reloading.shutdown_seconds))
        await _open_doors(server, options, keeper)
        loop.add_signal_handler(signal.SIGHUP, reloading.reload)
        log.info(
            "serving hosts=%s data_root=%s", ",".join(options.hosts), options.settings.data_root
        )
        await engine.serving()
        gc.freeze()  # what is here now stays: no collection need look at it again
        allocator.give_back()
        _tell_ready()
        await stopping.wait()
        activation.notify(os.environ, "STOPPING=1")
        if await asyncio.to_thread(goodbye.machine_goes_down):
            left = engine.running()
        log.info("stopping: containers %s", "end with the machine" if left else "go on")
    # Last of all: by now no restart policy has them come back.
    await asyncio.to_thread(goodbye.end, left)


def _show_stacks_on_request(loop: asyncio.AbstractEventLoop) -> None:
    """SIGUSR1: where is everyone, when it hangs? Threads at once, tasks when the loop runs."""
    loop.add_signal_handler(signal.SIGUSR1, lambda: log.warning("stacks\n%s", stacks.everybody()))
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=True)


def _tls_door(options: DaemonOptions) -> TlsKeeper | None:
    """Raises InvalidArgument: a wrong certificate is found before anything is made."""
    tls = options.tls
    if not tls.enabled or all(isinstance(door, UnixDoor) for door in options.doors):
        return None
    from tiffin.api.tlskeeper import TlsKeeper  # noqa: PLC0415 - only who needs it pays for it

    for path, what in ((tls.ca, "CA certificate"), (tls.certificate, "certificate")):
        if not os.path.exists(path):
            raise InvalidArgument(f"could not read {what} {path!r}: no such file or directory")
    keeper = TlsKeeper(tls.certificate, tls.key, tls.ca)
    keeper.start()
    return keeper


async def _open_doors(server: Server, options: DaemonOptions, keeper: Doorkeeper | None) -> None:
    inherited = activation.inherited_sockets(os.environ)
    for door in options.doors:
        if isinstance(door, UnixDoor):
            await server.listen_unix(door.path, options.group)
            log.info("API listen on %s", door.path)
        elif isinstance(door, TcpDoor):
            if not door.tls:
                log.warning("clear text on %s: every user here owns this machine", door.address)
            for address, port in await server.listen_tcp(door.address, door.port, keeper):
                log.info("API listen on %s port %d", address, port)
        else:
            await _open_inherited(server, options, door, keeper, inherited)


async def _open_inherited(
    server: Server,
    options: DaemonOptions,
    door: InheritedDoor,
    keeper: Doorkeeper | None,
    inherited: dict[str, socket.socket],
) -> None:
    for each in activation.choose(inherited, door.name):
        place = each.getsockname()
        if not isinstance(place, str):
            check_tcp(place[0], f"{place[0]}:{place[1]}", options.tls)
        await server.serve(each, keeper)
        log.info("API listen on inherited %s", place)


def _tell_ready() -> None:
    activation.notify(os.environ, f"READY=1\nMAINPID={os.getpid()}")
    number = os.environ.pop(READY_FD, "")
    if number.isdecimal():
        with suppress(OSError):
            os.write(int(number), b"ready\n")
            os.close(int(number))


@contextmanager
def pid_file(path: str) -> Iterator[None]:
    """Our pid while we run. Raises EngineFailure if another living daemon wrote it."""
    with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
        other = int(file.read().strip() or "0")
        if other != os.getpid() and _is_daemon(other):
            raise EngineFailure(
                f"process with PID {other} is still running: "
                f"delete {path} if it is not a tiffin daemon"
            )
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)


def _is_daemon(pid: int) -> bool:
    """A pid alone proves nothing: it may have been given to a stranger."""
    if pid <= 0:
        return False
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"tiffin" in file.read()
    except OSError:
        return False


def _answer_without_a_daemon(options: DaemonOptions | Asked) -> bool:
    """Help, the version, and what --validate found."""
    if isinstance(options, Asked):
        from tiffin.cli.help import command_help  # noqa: PLC0415
        from tiffin.configuration.flags import COMMAND  # noqa: PLC0415

        words = command_help("daemon", COMMAND, ["daemon"])
        print(f"tiffin version {__version__}" if options.what == "version" else words.rstrip())
        return True
    if options.validate:
        keeper = _tls_door(options)
        if keeper is not None:
            keeper.abandon()
        print("configuration OK", file=sys.stderr)
    return options.validate


def serve(options: DaemonOptions, argv: Sequence[str]) -> None:
    """All of the daemon's life. Raises TiffinError, OSError."""
    if os.geteuid() != 0:
        raise EngineFailure("the daemon needs root: it makes namespaces, mounts and links")
    allocator.share_one_arena()
    set_up_logging(options.log_level, options.log_format)
    os.umask(0o022)
    os.environ.update(options.proxies)
    os.makedirs(options.settings.exec_root, 0o711, exist_ok=True)
    with pid_file(options.pidfile):
        asyncio.run(run(options, argv))


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    try:
        options = parse_options(words)
        if not _answer_without_a_daemon(options):
            assert isinstance(options, DaemonOptions)
            serve(options, words)
    except WrongUsage as error:
        print(error.message, file=sys.stderr)
        return 1
    except TiffinError as error:
        print(f"tiffin daemon: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"tiffin daemon: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
