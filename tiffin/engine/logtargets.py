"""Where a container's output goes: the file that `logs` reads, and a daemon elsewhere if asked."""

from __future__ import annotations

import asyncio
import os
import socket

from tiffin.core import logdriver, logextras
from tiffin.core.container import Container, LogConfig
from tiffin.core.logdriver import Address, TLSFiles
from tiffin.core.workload import LogSink, LogTarget
from tiffin.errors import CannotStart, InvalidArgument

_DIAL_SECONDS = 5.0


def check_log(config: LogConfig) -> None:
    """For a container to be. Raises InvalidArgument."""
    logdriver.check(config)
    if logdriver.driver_of(config) == "syslog":
        network, path, _ = logdriver.syslog_address(config.config)
        if network == "unix" and path and not os.path.lexists(path):
            raise InvalidArgument(f"stat {path}: no such file or directory")


class LogTargets:
    def __init__(self, directory: str) -> None:
        self._directory = directory  # DATA_ROOT/containers

    def path(self, container: Container) -> str:
        """Where its output is kept; "" where it is not."""
        kept = logdriver.file_settings(container.host_config.log_config)
        if kept is None:
            return ""
        ending = "json.log" if kept.kind == "json-file" else f"{kept.kind}.log"
        return os.path.join(self._directory, container.id, f"{container.id}-{ending}")

    async def open(self, container: Container) -> LogTarget:
        """Raises CannotStart where a driver's other side is not there."""
        config = container.host_config.log_config
        kept = logdriver.file_settings(config)
        try:
            sink = await self._sink(container)
        except OSError as error:
            raise _not_initialized(str(error)) from error
        if kept is None:
            return LogTarget(sink=sink)
        return LogTarget(
            path=self.path(container),
            kind=kept.kind,
            max_size_bytes=kept.max_size_bytes,
            max_files=kept.max_files,
            compress=kept.compress,
            attrs=logextras.attrs(container) if kept.kind == "json-file" else "",
            sink=sink,
        )

    async def _sink(self, container: Container) -> LogSink | None:
        config = container.host_config.log_config
        driver = logdriver.driver_of(config)
        if driver == "journald":
            try:
                _connect(logdriver.JOURNAL)
            except OSError as error:
                raise _not_initialized("journald is not enabled on this host") from error
            address = Address("unix", logdriver.JOURNAL)
            fields = tuple(logdriver.journal_fields(container).items())
            return _sink_of(container, address, LogSink("journald", fields=fields))
        if driver == "syslog":
            options = config.config
            wanted = logdriver.syslog_address(options)
            address = await _dial(wanted)
            described = LogSink(
                "syslog",
                facility=logdriver.syslog_facility(options),
                format=logdriver.syslog_format(options),
                tag=logextras.tag_of(container, "{{.ID}}"),
            )
            if wanted.network == "tcp+tls":
                files = logdriver.syslog_tls(options)
                await _dial_tls(address, wanted.host, files)
                described.tls_ca, described.tls_cert = files.ca, files.cert
                described.tls_key, described.tls_verify = files.key, files.verify
                described.tls_name = wanted.host
            return _sink_of(container, address, described)
        return None


def _sink_of(container: Container, address: Address, described: LogSink) -> LogSink:
    config = container.host_config.log_config
    network, host, port = address
    described.network, described.host, described.port = network, host, port
    described.blocks = logdriver.blocks(config)
    described.max_buffer_bytes = logdriver.max_buffer_bytes(config)
    return described


async def _dial(address: Address) -> Address:
    """The address in numbers, once somebody listens there, as far as that can be known."""
    if address.network == "unix":
        return _dial_unix(address.host)
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_DGRAM if address.network == "udp" else socket.SOCK_STREAM
    name = f"{address.network} {address.host}:{address.port}"
    try:
        async with asyncio.timeout(_DIAL_SECONDS):
            found = await loop.getaddrinfo(address.host, address.port, type=kind)
            family, _, _, _, numbers = found[0]
            with socket.socket(family, kind) as probe:
                probe.setblocking(False)
                await loop.sock_connect(probe, numbers)
    except TimeoutError as error:
        raise _not_initialized(f"dial {name}: i/o timeout") from error
    except socket.gaierror as error:
        raise _not_initialized(f"dial {name}: lookup {address.host}: no such host") from error
    except OSError as error:
        raise _not_initialized(f"dial {name}: connect: {_words(error)}") from error
    return Address(address.network, str(numbers[0]), int(numbers[1]))


async def _dial_tls(address: Address, name: str, files: TLSFiles) -> None:
    """Whether the server and we accept each other's certificates. Raises CannotStart."""
    import ssl  # noqa: PLC0415 - who has no log there does without

    from tiffin.runtime.tlssink import client_context  # noqa: PLC0415

    try:
        context = await asyncio.to_thread(
            client_context, files.ca, files.cert, files.key, verify=files.verify
        )
        async with asyncio.timeout(_DIAL_SECONDS):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=context, server_hostname=name
            )
        writer.close()
    except TimeoutError as error:
        raise _not_initialized(f"dial tcp {name}:{address.port}: i/o timeout") from error
    except ssl.SSLCertVerificationError as error:
        words = f"tls: failed to verify certificate: x509: {error.verify_message}"
        raise _not_initialized(words) from error
    except ssl.SSLError as error:
        raise _not_initialized(f"tls: {error.reason or error}") from error
    except FileNotFoundError as error:
        named = next((path for path in files[:3] if path and not os.path.exists(path)), "")
        words = f"could not read {named}: no such file or directory"
        raise _not_initialized(words, asked_wrong=True) from error


def _dial_unix(path: str) -> Address:
    for candidate in [path] if path else logdriver.SYSLOG_SOCKETS:
        try:
            _connect(candidate)
        except OSError as error:
            if path:
                raise _not_initialized(f"dial unix {path}: connect: {_words(error)}") from error
        else:
            return Address("unix", candidate)
    raise _not_initialized("Unix syslog delivery error")


def _connect(path: str) -> None:
    """Datagrams: nobody waits, and nobody is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        probe.connect(path)


def _words(error: OSError) -> str:
    """The kernel's: asyncio puts its own in their place."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _not_initialized(why: str, *, asked_wrong: bool = False) -> CannotStart:
    return CannotStart(
        f"failed to create task for container: failed to initialize logging driver: {why}",
        operation="open the log",
        asked_wrong=asked_wrong,
    )
