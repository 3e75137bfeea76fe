"""Log drivers and their options: what is allowed, in Docker's words, and what it means. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from tiffin.core import logextras
from tiffin.core.container import Container, LogConfig
from tiffin.errors import InvalidArgument

DEFAULT = "json-file"
DRIVERS = ("journald", "json-file", "local", "syslog")
JOURNAL = "/run/systemd/journal/socket"
SYSLOG_SOCKETS = ("/dev/log", "/var/run/syslog", "/var/run/log")
MAX_BUFFER_BYTES = 1 << 20  # of mode=non-blocking

_FILE = frozenset({"max-size", "max-file", "compress"})
_CACHE = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
_SYSLOG = frozenset(
    (
        *("syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert"),
        *("syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify"),
    )
)
_OPTIONS = {
    "json-file": _FILE | logextras.OPTIONS,
    "local": _FILE | logextras.OPTIONS,
    "journald": _CACHE | logextras.OPTIONS,
    "syslog": _CACHE | _SYSLOG | logextras.OPTIONS,
}
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron"),
    *("authpriv", "ftp", "", "", "", "", *(f"local{number}" for number in range(8))),
)
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(i?b)?", re.IGNORECASE)
_UNITS = " kmgtp"


class FileSettings(NamedTuple):
    """How a log is kept on disk."""

    kind: str  # json-file or local
    max_size_bytes: int  # 0 or less: never rotated
    max_files: int
    compress: bool


class Address(NamedTuple):
    """Where a syslog daemon listens. `network`: unix (datagrams), udp, tcp, tcp+tls."""

    network: str
    host: str  # a path for unix; "" is the first of SYSLOG_SOCKETS that is there
    port: int = 0


def driver_of(config: LogConfig) -> str:
    return config.type or DEFAULT


def check(config: LogConfig) -> None:
    """Raises InvalidArgument for what no container can be started with."""
    driver, options = driver_of(config), config.config
    if driver == "none":
        return
    _check_mode(options)
    if driver not in _OPTIONS:
        raise InvalidArgument(f"logger: no log driver named '{driver}' is registered")
    for key in options:
        if key not in _OPTIONS[driver] | {"mode", "max-buffer-size"}:
            link = "log driver local" if driver == "local" else f"{driver} log driver"
            raise InvalidArgument(f"unknown log opt '{key}' for {link}")
    logextras.check_extras(options)
    file_settings(config)
    if driver == "syslog":
        syslog_address(options)
        syslog_facility(options)
        syslog_format(options)


def _check_mode(options: dict[str, str]) -> None:
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidArgument(
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
            )
        try:
            parse_size(options["max-buffer-size"])
        except InvalidArgument as error:
            words = f"error parsing option max-buffer-size: {error.message}"
            raise InvalidArgument(words) from error


def file_settings(config: LogConfig) -> FileSettings | None:
    """None: nothing is kept. What goes elsewhere is kept as well, so that it can be read back."""
    driver, options = driver_of(config), config.config
    if driver == "none":
        return None
    if driver in ("syslog", "journald"):
        if _boolean(options, "cache-disabled", default=False):
            return None
        return _settings("local", options, "cache-")
    return _settings(driver, options, "")


def _settings(kind: str, options: dict[str, str], prefix: str) -> FileSettings:
    json_file = kind == "json-file"
    files = options.get(f"{prefix}max-file", "3" if json_file else "5")
    limit = _file_limit(options.get(f"{prefix}max-size"), 10 if json_file else 20)
    if not re.fullmatch(r"-?\d{1,9}", files):
        raise InvalidArgument(f'strconv.Atoi: parsing "{files}": invalid syntax')
    if int(files) < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    compress = _boolean(options, f"{prefix}compress", default=not json_file)
    if compress and json_file and (int(files) < 2 or limit <= 0):
        raise InvalidArgument(
            "compress cannot be true when max-file is less than 2 or max-size is not set"
        )
    return FileSettings(kind, limit, int(files), compress and int(files) > 1)


def _file_limit(text: str | None, default_mib: int) -> int:
    """Bytes; "-1", what Docker calls its default, is no limit."""
    if text is None:
        return default_mib << 20
    limit = -1 if text == "-1" else parse_size(text, thousand=1000)
    if not limit:
        raise InvalidArgument("max-size must be a positive number")
    return limit


def _boolean(options: dict[str, str], name: str, *, default: bool) -> bool:
    """As Go's strconv.ParseBool."""
    text = options.get(name)
    if text is None:
        return default
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise InvalidArgument(f'strconv.ParseBool: parsing "{text}": invalid syntax')


def parse_size(text: str, thousand: int = 1024) -> int:
    """Bytes of "10m", "512k", "1g", "1.5kb": of files, to Docker, a k is 1000. Raises
    InvalidArgument."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"invalid size: '{text}'")
    return int(float(match[1]) * thousand ** _UNITS.index(match[2].lower() or " "))


def blocks(config: LogConfig) -> bool:
    """Whether the container is to wait for a driver that is slow."""
    return config.config.get("mode") != "non-blocking"


def max_buffer_bytes(config: LogConfig) -> int:
    text = config.config.get("max-buffer-size")
    return parse_size(text) if text else MAX_BUFFER_BYTES


# -- syslog ---


def syslog_address(options: dict[str, str]) -> Address:
    text = options.get("syslog-address", "")
    if not text:
        return Address("unix", "")
    url = urlsplit(text)
    network = url.scheme
    if network in ("unix", "unixgram") and url.path.startswith("/"):
        return Address("unix", url.path)
    if network not in ("tcp", "tcp+tls", "udp") or not url.hostname:
        raise InvalidArgument(f"syslog-address should be in form proto://address, got {text}")
    try:
        return Address(network, url.hostname, url.port or 514)
    except ValueError as error:
        raise InvalidArgument(f"syslog-address {text}: {error}") from error


class TLSFiles(NamedTuple):
    """Of a client; "" where none is given."""

    ca: str
    cert: str
    key: str
    verify: bool


def syslog_tls(options: dict[str, str]) -> TLSFiles:
    return TLSFiles(
        options.get("syslog-tls-ca-cert", ""),
        options.get("syslog-tls-cert", ""),
        options.get("syslog-tls-key", ""),
        verify="syslog-tls-skip-verify" not in options,  # whatever it says, as in Docker
    )


def syslog_facility(options: dict[str, str]) -> int:
    text = options.get("syslog-facility", "")
    if not text:
        return _FACILITIES.index("daemon")
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if re.fullmatch(r"\d{1,2}", text) and int(text) < len(_FACILITIES):
        return int(text)
    raise InvalidArgument("invalid syslog facility")


def syslog_format(options: dict[str, str]) -> str:
    text = options.get("syslog-format", "")
    if text not in _FORMATS:
        raise InvalidArgument("Invalid syslog format")
    return text


def journal_fields(container: Container) -> dict[str, str]:
    """What each entry of the container has in the journal."""
    tag = logextras.tag_of(container, "{{.ID}}")
    fields = {
        "CONTAINER_ID": container.short_id,
        "CONTAINER_ID_FULL": container.id,
        "CONTAINER_NAME": container.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": container.image_reference,
        "SYSLOG_IDENTIFIER": tag,
    }
    extras = logextras.extras(container)
    extras.pop("tag", None)
    return fields | _renamed(extras, _journal_name)


def _renamed(values: dict[str, str], rename: Callable[[str], str]) -> dict[str, str]:
    return {name: value for key, value in values.items() if (name := rename(key))}


def _journal_name(name: str) -> str:
    """Capitals, digits and underscores, none of those first."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper()).lstrip("_")
