"""Which daemon a command is for: `-H`, `--context`, the environment, the context in use.

In Docker's order, and from Docker's files, so that both command lines mean the same daemon. The
context `default` is what the environment says, or else our own daemon here.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.hosts import DEFAULT_CONTEXT, DEFAULT_HOST, Target, TlsFiles, whole_host
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
    named = settings.get("host") or _environment_host()
    host = whole_host(named) if named else DEFAULT_HOST
    return Target(host, _tls(settings, host), named=bool(named))


def _tls(settings: dict[str, str], host: str) -> TlsFiles | None:
    """Docker's rules: whoever says --tlsverify at all speaks TLS, verified or not."""
    verify = _flag(settings, "tlsverify", bool(environment("DOCKER_TLS_VERIFY")))
    wanted = "tlsverify" in settings or verify
    wanted = wanted or _flag(settings, "tls", bool(environment("DOCKER_TLS")))
    if not wanted or host.startswith(("unix://", "ssh://", "fd://")):
        return None
    directory = environment("DOCKER_CERT_PATH") or config_directory()
    return TlsFiles(
        _file(settings, "tlscacert", f"{directory}/ca.pem") if verify else "",
        _file(settings, "tlscert", f"{directory}/cert.pem"),
        _file(settings, "tlskey", f"{directory}/key.pem"),
        verify=verify,
    )


def _flag(settings: dict[str, str], name: str, default: bool) -> bool:
    return settings[name] == "true" if name in settings else default


def _file(settings: dict[str, str], name: str, usual: str) -> str:
    """What was named, or the usual file if it is there."""
    if name in settings:
        return settings[name]
    try:
        with open(usual, "rb"):
            return usual
    except OSError:
        return ""
