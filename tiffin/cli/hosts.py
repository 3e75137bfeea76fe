"""Where a daemon is: the host that names its door, and how both sides prove who they are."""

from __future__ import annotations

DEFAULT_HOST = "unix:///run/tiffin/tiffin.sock"
DEFAULT_CONTEXT = "default"
_SCHEMES = ("unix://", "tcp://", "ssh://", "fd://", "npipe://")


class TlsFiles:
    """How to prove who we are, and whether the daemon has to; "" where there is no such file."""

    def __init__(self, ca: str, certificate: str, key: str, *, verify: bool):
        self.ca = ca
        self.certificate = certificate
        self.key = key
        self.verify = verify


class Target:
    """`named`: somebody chose it, so that we do not start a daemon for it."""

    def __init__(
        self, host: str, tls: TlsFiles | None, *, named: bool, context: str = DEFAULT_CONTEXT
    ):
        self.host = host
        self.tls = tls
        self.named = named
        self.context = context


def whole_host(host: str) -> str:
    """The host with its scheme. CommandFailed for a scheme that is none of ours."""
    if host.startswith("/"):
        return f"unix://{host}"
    if "://" not in host:
        return f"tcp://{host}"
    if not host.startswith(_SCHEMES):
        from tiffin.cli.failures import CommandFailed

        raise CommandFailed(
            "Failed to initialize: unable to resolve docker endpoint: "
            f"invalid bind address format: {host}"
        )
    return host
