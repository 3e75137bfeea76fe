"""Reaching the daemon, or not."""

from __future__ import annotations

import pytest

from tiffin.cli import client
from tiffin.cli.failures import CommandFailed


def test_a_socket_that_is_not_ours_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(client, "dial", refuse)
    with pytest.raises(CommandFailed, match=r"^permission denied while.*it needs root.*$"):
        client.Client("unix:///run/d.sock").request("GET", "/_ping")
