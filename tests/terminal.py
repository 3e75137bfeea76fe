"""A program on a pseudo-terminal of its own: send what a user types, wait for what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from tests.patience import patient

PATIENCE_SECONDS = patient(60)


class Terminal:
    def __init__(
        self, argv: list[str], environment: dict[str, str], rows: int = 24, columns: int = 80
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            argv,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
        self._unread = ""
        self.seen = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)

    def send(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, words: str) -> None:
        """Read until `words` have been shown; fails with what was shown instead."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in self._unread:
            if not self._read(deadline):
                raise AssertionError(f"{words!r} was not shown, but {self.seen!r}")
        self._unread = self._unread.partition(words)[2]

    def exit_code(self) -> int:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read(deadline):
            pass
        return self._process.wait(PATIENCE_SECONDS)

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the last process has closed the terminal
            return False
        text = data.decode(errors="replace")
        self._unread += text
        self.seen += text
        return bool(data)
