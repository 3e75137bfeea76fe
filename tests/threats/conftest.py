"""One daemon for a module's attacks; nothing may be left at its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live import LiveDaemon


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    live = LiveDaemon()
    with live:
        live.load_busybox()
        yield live
    assert live.leaks() == []
