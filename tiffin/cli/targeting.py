"""Which daemon a command is for: `-H`, `--context`, the environment, the context in use.

In Docker's order, and from Docker's files, so that both command lines mean the same daemon. The
context `default` is what the environment says, or else our own daemon here.
"""

from __future__ import annotations

import posix

from tiffin.cli.failures import CommandFailed
from tiffin.cli.hosts import (
    DEFAULT_CONTEXT,
    DEFAULT_HOST,
    DEFAULT_TLS_HOST,
    Target,
    TlsFiles,
    whole_host,
)
from tiffin.cli.surroundings import config_directory, config_document, environment


def context_name(settings: dict[str, str]) -> str:
    """The context in use. CommandFailed when two are asked for."""
    if settings.get("context"):
        if settings.get("host"):
            raise CommandFailed("conflicting options: cannot specify both --host and --context")
        return settings["context"]
    if settings.get("host") or _environment_host():
        return DEFAULT_CONTEXT
    return environment("DOCKER_CONTEXT") or configured_context() or DEFAULT_CONTEXT


def _environment_host() -> str:
    return environment("TIFFIN_HOST") or environment("DOCKER_HOST") or ""


def configured_context() -> str:
    found = config_document().get("currentContext")
    return found if isinstance(found, str) else ""


def find_target(settings: dict[str, str]) -> Target:
    """CommandFailed when the context that is in use is not there."""
    name = context_name(settings)
    if name != DEFAULT_CONTEXT:
        from tiffin.cli.contextstore import ContextStore

        return ContextStore().target(name)
    return default_target(settings)


def default_target(settings: dict[str, str]) -> Target:
    named = (settings.get("host") or _environment_host()).strip()
    tls = _tls(settings)
    host = whole_host(named) if named else DEFAULT_TLS_HOST if tls else DEFAULT_HOST
    if not host.startswith("tcp://"):
        tls = None
    return Target(host, tls, named=host != DEFAULT_HOST or bool(named))


def _tls(settings: dict[str, str]) -> TlsFiles | None:
    """Docker's rules: whoever says --tlsverify at all speaks TLS, verified or not."""
    verify = _flag(settings, "tlsverify", bool(environment("DOCKER_TLS_VERIFY")))
    wanted = "tlsverify" in settings or verify
    if not (wanted or _flag(settings, "tls", bool(environment("DOCKER_TLS")))):
        return None
    directory = environment("DOCKER_CERT_PATH") or config_directory()
    ca = _unquoted(settings.get("tlscacert", f"{directory}/ca.pem"))
    certificate, key = (
        _unquoted(settings[option]) if option in settings else _if_there(f"{directory}/{name}")
        for option, name in (("tlscert", "cert.pem"), ("tlskey", "key.pem"))
    )
    for path in filter(None, (ca, certificate, key)):
        _check_readable(path)
    return TlsFiles(ca, certificate, key, verify=verify)


def _flag(settings: dict[str, str], name: str, default: bool) -> bool:
    return settings[name] == "true" if name in settings else default


def _unquoted(path: str) -> str:
    """Without the quotes that files of settings have around it."""
    quoted = len(path) > 1 and path[0] == path[-1] and path[0] in "\"'"
    return path[1:-1] if quoted else path


def _if_there(path: str) -> str:
    try:
        posix.stat(path)
    except OSError:
        return ""
    return path


def _check_readable(path: str) -> None:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        verb = "read" if isinstance(error, IsADirectoryError) else "open"
        raise CommandFailed(
            f"Failed to initialize: unable to resolve docker endpoint: {verb} {path}: {words}"
        ) from error
