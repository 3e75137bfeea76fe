"""The daemon, and the composition root: settings, objects, recovery, serving, signals.

    tiffin daemon [-H unix:///path]... [--data-root DIR] [--exec-root DIR] [...]

Flags and configuration keys are dockerd's. Containers go on when the daemon ends; the next one
finds them again.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import ipaddress
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any

import msgspec

from tiffin import __version__
from tiffin.api.server import Server
from tiffin.engine.engine import Engine
from tiffin.engine.settings import DEFAULT_DATA_ROOT, DEFAULT_EXEC_ROOT, Settings
from tiffin.errors import EngineFailure, InvalidArgument, TiffinError

log = logging.getLogger("tiffin")

READY_FD = (
    "TIFFIN_READY_FD"  # who starts us may name a descriptor: it reads "ready\n" once we serve
)
DEFAULT_CONFIG_FILE = "/etc/tiffin/daemon.json"


class DaemonOptions(msgspec.Struct, frozen=True):
    settings: Settings
    hosts: tuple[str, ...]
    pidfile: str
    log_level: str


# configuration key (dockerd's) -> argparse destination
_KEYS = {
    "hosts": "host",
    "data-root": "data_root",
    "exec-root": "exec_root",
    "pidfile": "pidfile",
    "bip": "bip",
    "dns": "dns",
    "insecure-registries": "insecure_registry",
    "registry-mirrors": "registry_mirror",
    "debug": "debug",
    "log-level": "log_level",
}
_LISTS = frozenset({"host", "dns", "insecure_registry", "registry_mirror"})
_LEVELS = ("debug", "info", "warn", "error", "fatal")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tiffin daemon",
        description="The tiffin daemon: serves the Docker Engine API.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-H", "--host", action="append", metavar="list", help="Daemon socket(s) to listen on")
    add("--data-root", metavar="string", help=f"Persistent state (default {DEFAULT_DATA_ROOT})")
    add("--exec-root", metavar="string", help=f"Execution state (default {DEFAULT_EXEC_ROOT})")
    add("-p", "--pidfile", metavar="string", help="Daemon PID file (default EXEC_ROOT/tiffin.pid)")
    add("--config-file", metavar="string", help=f"Configuration (default {DEFAULT_CONFIG_FILE})")
    add("--bip", metavar="string", help="Address of the default bridge, as 172.17.0.1/16")
    add("--dns", action="append", metavar="list", help="DNS server for containers")
    add("--insecure-registry", action="append", metavar="list", help="Registry without TLS")
    add("--registry-mirror", action="append", metavar="list", help="Mirror of Docker Hub")
    add("-D", "--debug", action="store_true", default=None, help="Enable debug mode")
    add("-l", "--log-level", metavar="string", help='"debug", "info", "warn", "error", "fatal"')
    add("-v", "--version", action="version", version=f"tiffin version {__version__}")
    return parser


def parse_options(argv: Sequence[str]) -> DaemonOptions:
    """Flags over the configuration file over defaults. Raises InvalidArgument."""
    given = vars(_parser().parse_args(argv))
    flags = {key: value for key, value in given.items() if value is not None}
    config_file = flags.pop("config_file", None)
    merged = flags | _configuration(config_file, flags)
    return _checked(merged)


def _configuration(path: str | None, flags: dict[str, Any]) -> dict[str, Any]:
    if path is None and not os.path.exists(DEFAULT_CONFIG_FILE):
        return {}
    path = path or DEFAULT_CONFIG_FILE
    prefix = f"unable to configure the tiffin daemon with file {path}"
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{prefix}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"{prefix}: the file must hold a JSON object")
    unknown = [key for key in document if key not in _KEYS]
    if unknown:
        words = "the following directives don't match any configuration option"
        raise InvalidArgument(f"{prefix}: {words}: {', '.join(unknown)}")
    both = [key for key in document if _KEYS[key] in flags]
    if both:
        words = (
            "the following directives are specified both as a flag and in the configuration file"
        )
        raise InvalidArgument(f"{prefix}: {words}: {', '.join(both)}")
    return {_KEYS[key]: _typed(key, value, prefix) for key, value in document.items()}


def _typed(key: str, value: Any, prefix: str) -> Any:
    destination = _KEYS[key]
    if destination in _LISTS:
        fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        fits = isinstance(value, bool if destination == "debug" else str)
    if not fits:
        raise InvalidArgument(f"{prefix}: wrong type of value for {key}: {json.dumps(value)}")
    return value


def _checked(values: dict[str, Any]) -> DaemonOptions:
    exec_root = os.path.abspath(values.get("exec_root") or DEFAULT_EXEC_ROOT)
    level = "debug" if values.get("debug") else values.get("log_level") or "info"
    if level not in _LEVELS:
        raise InvalidArgument(f'invalid logging level: "{level}"')
    hosts = tuple(values.get("host") or (f"unix://{exec_root}/tiffin.sock",))
    for host in hosts:
        socket_path(host)
    for address in values.get("dns") or ():
        _check_address(address)
    settings = Settings(
        data_root=os.path.abspath(values.get("data_root") or DEFAULT_DATA_ROOT),
        exec_root=exec_root,
        bridge_address=_check_bip(values.get("bip") or ""),
        dns=tuple(values.get("dns") or ()),
        insecure_registries=tuple(values.get("insecure_registry") or ()),
        registry_mirrors=tuple(values.get("registry_mirror") or ()),
    )
    pidfile = values.get("pidfile") or os.path.join(exec_root, "tiffin.pid")
    return DaemonOptions(settings, hosts, pidfile, level)


def socket_path(host: str) -> str:
    """The path of a unix:// host. Raises InvalidArgument for what we do not serve."""
    scheme, separator, path = host.partition("://")
    if not separator or scheme != "unix":
        raise InvalidArgument(
            f"unsupported host {host}: this daemon listens on unix sockets only (unix:///path)"
        )
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid host {host}: the socket's path must be absolute")
    return path


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"{text} is not an ip address") from error


def _check_bip(text: str) -> str:
    if not text:
        return ""
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid CIDR address: {text}") from error
    if "/" not in text or interface.network.prefixlen > 29:
        raise InvalidArgument(f"invalid CIDR address: {text}")
    return text


async def run(options: DaemonOptions) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        engine = await Engine.open(options.settings)
        stack.push_async_callback(engine.close)
        server = Server(engine)
        stack.push_async_callback(server.close)
        for host in options.hosts:
            await server.listen_unix(socket_path(host))
        log.info(
            "serving hosts=%s data_root=%s", ",".join(options.hosts), options.settings.data_root
        )
        _tell_ready()
        await stopping.wait()
        log.info("stopping: containers go on")


def _tell_ready() -> None:
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


def _set_up_logging(level: str) -> None:
    numbers = {"warn": logging.WARNING, "fatal": logging.CRITICAL}
    logging.basicConfig(
        stream=sys.stderr,
        level=numbers.get(level) or level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for chatty in ("asyncio", "httpcore", "hpack"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def main(argv: Sequence[str] | None = None) -> int:
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv)
        if os.geteuid() != 0:
            raise EngineFailure("the daemon needs root: it makes namespaces, mounts and links")
        _set_up_logging(options.log_level)
        faulthandler.register(signal.SIGUSR1, all_threads=True)  # where is everyone, when it hangs
        os.umask(0o022)
        os.makedirs(options.settings.exec_root, 0o711, exist_ok=True)
        with pid_file(options.pidfile):
            asyncio.run(run(options))
    except TiffinError as error:
        print(f"tiffin daemon: {error.message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"tiffin daemon: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
