"""Socket activation and readiness, as a service manager does it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tiffin.activation import choose, inherited_sockets, notify
from tiffin.errors import EngineFailure


def test_sockets_meant_for_another_process_are_left_alone() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert inherited_sockets(environ) == {}
    assert environ == {}


def test_a_socket_is_chosen_by_name_or_all_are() -> None:
    with socket.socketpair()[0] as one, socket.socketpair()[0] as two:
        found = {"api": one, "4": two}
        assert choose(found, "") == [one, two]
        assert choose(found, "api") == [one]
        assert choose(found, str(two.fileno())) == [two]
        with pytest.raises(EngineFailure, match="no socket web found"):
            choose(found, "web")
    with pytest.raises(EngineFailure, match="no sockets found via socket activation"):
        choose({}, "")


def test_who_started_us_hears_that_we_are_ready(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        notify({"NOTIFY_SOCKET": path}, f"READY=1\nMAINPID={os.getpid()}")
        assert listener.recv(100) == f"READY=1\nMAINPID={os.getpid()}".encode()
    notify({"NOTIFY_SOCKET": path}, "READY=1")  # nobody listens any more: no harm
    notify({}, "READY=1")
