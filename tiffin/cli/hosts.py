"""Where a daemon is: the host that names its door, and how both sides prove who they are."""

from __future__ import annotations

DEFAULT_HOST = "unix:///run/tiffin/tiffin.sock"
DEFAULT_CONTEXT = "default"


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
    if host.startswith("/"):
        return f"unix://{host}"
    return host if "://" in host else f"tcp://{host}"
