"""Flags over the configuration file over defaults, checked: what the daemon starts with."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from typing import Any

import msgspec

from tiffin.cli.quantities import parse_size, parse_ulimit
from tiffin.configuration.file import check_twice, read_file
from tiffin.configuration.flags import parse_flags
from tiffin.configuration.hosts import Door, Tls, parse_door
from tiffin.core import logdriver, runtimes
from tiffin.core.container import LogConfig, Ulimit
from tiffin.core.defaults import ContainerDefaults
from tiffin.core.network import resolv_conf
from tiffin.core.runtimes import RuntimeProgram
from tiffin.engine.settings import DEFAULT_DATA_ROOT, DEFAULT_EXEC_ROOT, Settings
from tiffin.errors import InvalidArgument

DEFAULT_CONFIG_FILE = "/etc/tiffin/daemon.json"
_LEVELS = ("debug", "info", "warn", "error", "fatal")
_FURTHER_LEVELS = {"trace": "debug", "warning": "warn", "panic": "fatal"}  # dockerd's too
_PROXIES = ("http-proxy", "https-proxy", "no-proxy")


class DaemonOptions(msgspec.Struct, frozen=True):
    settings: Settings
    hosts: tuple[str, ...]
    doors: tuple[Door, ...]
    tls: Tls
    pidfile: str
    group: str
    log_level: str
    log_format: str
    shutdown_seconds: int
    proxies: dict[str, str]  # name of the environment variable -> value
    config_file: str  # "" where there is none
    validate: bool = False
    values: dict[str, Any] = {}  # as given, by key: what a reload compares


class Asked(msgspec.Struct, frozen=True):
    """The command line asks for a text, not for a daemon."""

    what: str  # help, version


def parse_options(argv: Sequence[str]) -> DaemonOptions | Asked:
    """Raises InvalidArgument, WrongUsage."""
    given = parse_flags(list(argv))
    if given is None:
        return Asked("help")
    if given.pop("version", False):
        return Asked("version")
    validate = given.pop("validate", False)
    path = given.pop("config-file", None)
    return load(path, given, validate=validate)


def load(path: str | None, flags: dict[str, Any], *, validate: bool = False) -> DaemonOptions:
    """Reads the file (None: the usual one if it is there). Raises InvalidArgument."""
    if path is None:
        path = DEFAULT_CONFIG_FILE if os.path.exists(DEFAULT_CONFIG_FILE) else ""
    found: dict[str, Any] = {}
    if path:
        prefix = f"unable to configure the tiffin daemon with file {path}"
        try:
            found = read_file(path)
            check_twice(flags, found)
            _checked(path, found, validate=validate)  # so that its mistakes are said to be its own
        except InvalidArgument as error:
            raise InvalidArgument(f"{prefix}: {error.message}") from error
    return _checked(path, flags | found, validate=validate)


def _checked(path: str, values: dict[str, Any], *, validate: bool) -> DaemonOptions:
    exec_root = os.path.abspath(values.get("exec-root") or DEFAULT_EXEC_ROOT)
    tls = _tls(values)
    usual = f"unix://{exec_root}/tiffin.sock"
    hosts = tuple(dict.fromkeys(host or usual for host in values.get("hosts") or (usual,)))
    return DaemonOptions(
        settings=_settings(values, exec_root),
        hosts=hosts,
        doors=tuple(parse_door(host, tls) for host in hosts),
        tls=tls,
        pidfile=values.get("pidfile") or os.path.join(exec_root, "tiffin.pid"),
        group=values.get("group") or "docker",
        log_level=_level(values),
        log_format=_one_of(values, "log-format", ("text", "json"), "text"),
        shutdown_seconds=_natural(values, "shutdown-timeout", 15),
        proxies={
            name.upper().replace("-", "_"): values[name] for name in _PROXIES if values.get(name)
        },
        config_file=path,
        validate=validate,
        values=values,
    )


def _settings(values: dict[str, Any], exec_root: str) -> Settings:
    for address in values.get("dns") or ():
        _check_address(address)
    # What no container could be started with is refused here, and not by each of them.
    resolv_conf("", (), values.get("dns-search") or (), values.get("dns-opts") or ())
    return Settings(
        data_root=os.path.abspath(values.get("data-root") or DEFAULT_DATA_ROOT),
        exec_root=exec_root,
        bridge_address=_check_bip(values.get("bip") or ""),
        mtu=_mtu(values),
        publish_address=_publish_address(values.get("ip") or ""),
        dns=tuple(values.get("dns") or ()),
        dns_options=tuple(values.get("dns-opts") or ()),
        dns_search=tuple(values.get("dns-search") or ()),
        insecure_registries=tuple(
            _check_registry(each) for each in values.get("insecure-registries") or ()
        ),
        registry_mirrors=tuple(
            _check_mirror(each) for each in values.get("registry-mirrors") or ()
        ),
        downloads=_positive(values, "max-concurrent-downloads", 3, "max concurrent downloads"),
        uploads=_positive(values, "max-concurrent-uploads", 5, "max concurrent uploads"),
        download_attempts=_positive(values, "max-download-attempts", 5, "max download attempts"),
        labels=_labels(values.get("labels") or ()),
        debug=_level(values) == "debug",
        defaults=_defaults(values),
        runtimes=_runtimes(values),
        selinux=bool(values.get("selinux-enabled")),
    )


def _runtimes(values: dict[str, Any]) -> dict[str, RuntimeProgram]:
    """A flag's value is a path, the file's an object."""
    return {
        name: _runtime(name, described)
        for name, described in (values.get("runtimes") or {}).items()
    }


def _runtime(name: str, described: Any) -> RuntimeProgram:
    if name in (runtimes.OWN, "io.containerd.runc.v2"):
        raise InvalidArgument(f"runtime name '{name}' is reserved")
    if isinstance(described, str):
        described = {"path": described}
    wrong = InvalidArgument(
        f'invalid runtimes: {name}: it must be {{"path": "/program", "runtimeArgs": ["--flag"]}}'
    )
    if not isinstance(described, dict):
        raise wrong
    for key in ("runtimeType", "options"):
        if described.get(key):
            raise InvalidArgument(f"invalid runtimes: {name}: {key} is containerd's, not supported")
    path, words = described.get("path"), described.get("runtimeArgs") or []
    known = set(described) <= {"path", "runtimeArgs", "runtimeType", "options"}
    if not isinstance(path, str) or not path or not known:
        raise wrong
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise wrong
    return RuntimeProgram(path, tuple(words))


def _default_runtime(values: dict[str, Any]) -> str:
    name = values.get("default-runtime") or ""
    known = {runtimes.OWN, *runtimes.USUAL, *(values.get("runtimes") or {})}
    if name and name not in known:
        raise InvalidArgument(f"specified default runtime '{name}' does not exist")
    return str(name)


def _defaults(values: dict[str, Any]) -> ContainerDefaults:
    return ContainerDefaults(
        cgroup_parent=values.get("cgroup-parent") or "",
        cgroupns_mode=_mode(
            values, "default-cgroupns-mode", ("host", "private"), "cgroup namespace"
        ),
        ipc_mode=_mode(values, "default-ipc-mode", ("shareable", "private"), "IPC"),
        shm_size=_shm_size(values.get("default-shm-size")),
        ulimits=tuple(
            _ulimit(name, limit) for name, limit in (values.get("default-ulimits") or {}).items()
        ),
        runtime=_default_runtime(values),
        init=bool(values.get("init")),
        log_config=_log_config(values),
        no_new_privileges=bool(values.get("no-new-privileges")),
        seccomp=_seccomp(values.get("seccomp-profile") or ""),
    )


def _level(values: dict[str, Any]) -> str:
    asked = "debug" if values.get("debug") else values.get("log-level") or "info"
    level = _FURTHER_LEVELS.get(asked.lower(), asked.lower())
    if level not in _LEVELS:
        raise InvalidArgument(f"invalid logging level: {asked}")
    return level


def _one_of(values: dict[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    value = values.get(key) or default
    if value != default and value not in allowed:
        raise InvalidArgument(f"invalid {key}: {value}: it can be {' or '.join(allowed)}")
    return str(value)


def _mode(values: dict[str, Any], key: str, allowed: tuple[str, ...], noun: str) -> str:
    value = values.get(key) or ""
    if value and value not in allowed:
        words = " or ".join(f'"{each}"' for each in allowed)
        raise InvalidArgument(f"default {noun} mode setting ({value}) is invalid; use {words}")
    return str(value)


def _natural(values: dict[str, Any], key: str, default: int) -> int:
    number = values.get(key, default)
    if number < 0:
        raise InvalidArgument(f"invalid {key}: {number}")
    return int(number)


def _positive(values: dict[str, Any], key: str, default: int, words: str) -> int:
    number = values.get(key, default)
    if number < 0:
        raise InvalidArgument(f"invalid {words}: {number}")
    return int(number) or default


def _mtu(values: dict[str, Any]) -> int:
    mtu = values.get("mtu", 0)
    if mtu and not 68 <= mtu <= 65535:
        raise InvalidArgument(f"invalid default MTU: {mtu}")
    return int(mtu)


def _check_address(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"{text} is not an ip address") from error


def _publish_address(text: str) -> str:
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise InvalidArgument(f"invalid ip: {text} is not an ip address") from error
    if address.version != 4:
        raise InvalidArgument(f"invalid ip: {text}: the default bridge has no IPv6")
    return "" if text == "0.0.0.0" else text


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


def _labels(texts: Sequence[str]) -> tuple[str, ...]:
    """Raises InvalidArgument for one key with two values."""
    found: dict[str, str] = {}
    for text in map(_check_label, texts):
        key = text.partition("=")[0]
        if found.setdefault(key, text) != text:
            raise InvalidArgument(f"conflict labels for {found[key]} and {text}")
    return tuple(found.values())


def _check_label(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not name or not equals:
        raise InvalidArgument(f"bad attribute format: {text}")
    return text


def _check_registry(text: str) -> str:
    """A host, or a network that its address is in; a scheme before it says nothing more."""
    text = text.removeprefix("http://").removeprefix("https://")
    if "://" in text:
        raise InvalidArgument(f"insecure registry {text} should not contain '://'")
    if "/" not in text:
        if not text or text.startswith("-") or not text.isprintable():
            raise InvalidArgument(f"insecure registry {text} is not valid: invalid host")
        return text
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise InvalidArgument(f"insecure registry {text} is not valid: {error}") from error
    return text


def _check_mirror(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("http", "https") or not rest.strip("/"):
        raise InvalidArgument(f'invalid mirror: "{text}" must be an http:// or https:// URL')
    if any(sign in rest for sign in "?#@"):
        raise InvalidArgument(
            f'invalid mirror: "{text}" must be a host, no user, query or fragment'
        )
    return text


def _shm_size(value: Any) -> int:
    try:
        size = parse_size(value) if isinstance(value, str) else int(value or 0)
    except ValueError as error:
        raise InvalidArgument(f"invalid default-shm-size: {error}") from error
    if size < 0:
        raise InvalidArgument(f"invalid default-shm-size: {size}")
    return size


def _ulimit(name: str, limit: Any) -> Ulimit:
    wrong = InvalidArgument(
        f'invalid default-ulimits: {name}: it must be {{"Name": "{name}", "Soft": 1, "Hard": 2}}'
    )
    if not isinstance(limit, dict) or not set(limit) <= {"Name", "Soft", "Hard"}:
        raise wrong
    soft, hard = limit.get("Soft", 0), limit.get("Hard", 0)
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in (soft, hard)):
        raise wrong
    name = limit.get("Name") or name
    try:
        parse_ulimit(f"{name}={soft}:{hard}")
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
    return Ulimit(name, soft, hard)


def _log_config(values: dict[str, Any]) -> LogConfig:
    options = values.get("log-opts") or {}
    for name, value in options.items():
        if not isinstance(value, str):
            raise InvalidArgument(f"wrong type of value for log-opts: {name} must be a string")
    config = LogConfig(values.get("log-driver") or "", dict(options))
    if config != LogConfig():
        logdriver.check(config)  # a container without a word about its log could not be made
    return config


def _seccomp(value: str) -> str:
    """ "" for the built-in profile, `unconfined`, or the profile's text."""
    if value in ("", "builtin", "default"):
        return ""
    if value == "unconfined":
        return value
    try:
        with open(value, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise InvalidArgument(f"opening seccomp profile ({value}) failed: {words}") from error


def _tls(values: dict[str, Any]) -> Tls:
    """dockerd's rules: tlsverify means tls; the environment counts where no flag does."""
    environment_verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
    said_off = values.get("tls") is False or values.get("tlsverify") is False
    verify = bool(values.get("tlsverify", environment_verify))
    enabled = verify or bool(values.get("tls"))
    directory = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    return Tls(
        enabled=enabled,
        verify=verify,
        explicit_off=said_off and not enabled,
        ca=values.get("tlscacert") or os.path.join(directory, "ca.pem"),
        certificate=values.get("tlscert") or os.path.join(directory, "cert.pem"),
        key=values.get("tlskey") or os.path.join(directory, "key.pem"),
    )
