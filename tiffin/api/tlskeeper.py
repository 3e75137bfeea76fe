"""The daemon's side of the TLS door (api.tlsdoor), which has the keys."""

from __future__ import annotations

import contextlib

from tiffin.api.doorkeeper import HEARD_BYTES, Doorkeeper
from tiffin.errors import EngineFailure, InvalidArgument

PATIENCE_SECONDS = 30.0


class TlsKeeper(Doorkeeper):
    """There is a door as long as there is a daemon."""

    def __init__(self, certificate: str, key: str, ca: str) -> None:
        super().__init__("TLS door", "tlsdoor", certificate, key, ca)
        self._files = (certificate, key, ca)

    def start(self) -> None:
        """Returns when it stands. Blocks; raises InvalidArgument for wrong certificates."""
        control = self.spawn()
        control.settimeout(PATIENCE_SECONDS)
        try:
            said = control.recv(HEARD_BYTES).decode(errors="replace")
        except OSError as error:
            self.abandon()
            raise EngineFailure(f"the TLS door does not answer: {error.strerror}") from error
        if said != "ready":
            self.abandon()
            certificate, key, ca = self._files
            if not said:
                raise EngineFailure("the TLS door did not start")
            raise InvalidArgument(
                f'could not load X509 key pair (cert: "{certificate}", key: "{key}", '
                f'ca: "{ca}"): {said.removeprefix("wrong: ")}'
            )
        self.ready = True

    def after_its_end(self) -> None:
        with contextlib.suppress(OSError):
            self.spawn()
            self.attend()
