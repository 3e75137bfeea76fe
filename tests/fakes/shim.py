"""A shim of another release: says what it is told to say, on a control socket, for a real process.

It answers the requests that its release knows, refuses others, and notes what it was asked.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from typing import Any

from tiffin.kernel import syscalls
from tiffin.runtime import messages
from tiffin.runtime.messages import Message


class FakeShim:
    """Use as a context manager. `hello` is what it says first; `knows` are its requests."""

    def __init__(self, directory: str, protocol: Any, knows: tuple[str, ...]) -> None:
        self._directory = directory
        self._protocol = protocol
        self._knows = knows
        self.asked: list[str] = []
        self.process = subprocess.Popen(["sleep", "1000"])
        self._connection: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> FakeShim:
        os.makedirs(self._directory)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(f"{self._directory}/control.sock")
        self._listener.listen(1)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.wait()
        self._listener.shutdown(socket.SHUT_RDWR)
        if self._connection is not None:
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _hello(self) -> Message:
        return {
            "hello": self._protocol,
            "pid": self.process.pid,
            "start_ticks": syscalls.start_ticks(self.process.pid),
            "cgroup": "",
        }

    def _serve(self) -> None:
        try:
            self._connection, _ = self._listener.accept()
        except OSError:
            return  # nobody came
        with self._connection as connection:
            messages.send(connection, self._hello())
            while True:
                try:
                    message, descriptors = messages.receive(connection)
                except messages.ConnectionEnded:
                    return
                messages.close_all(descriptors)
                self._answer(connection, message)

    def _answer(self, connection: socket.socket, message: Message) -> None:
        op = message["op"]
        self.asked.append(op)
        if op not in self._knows:
            failed = {"message": f"shim: unknown request {op}", "operation": "shim", "errno": 0}
            messages.send(connection, {"id": message["id"], "failed": failed})
            return
        messages.send(connection, {"id": message["id"], "pid": 4711})
        if op == "kill":
            self.process.send_signal(message["signal"])
        if op in ("kill", "remove"):
            self._tell_exit(connection)

    def _tell_exit(self, connection: socket.socket) -> None:
        self.process.kill()
        self.process.wait()
        event = {"event": "exit", "exec_id": "", "exit_code": 143, "signal": 15}
        messages.send(connection, event | {"oom_killed": False, "finished_ns": 1, "mood": "new"})
