"""Terminals: handing the master to --console-socket, or being its user's terminal ourselves."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from _socket import AF_UNIX, SCM_RIGHTS, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET, socket

from tiffin.kernel import syscalls

_CHUNK = 65536
_TIOCGWINSZ = 0x5413


def hand_over(path: str, master: int) -> None:
    """As runc: one message with the descriptor. Raises OSError, which names the socket."""
    try:
        connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        try:
            connection.connect(path)
            rights = struct.pack("i", master)
            connection.sendmsg([b"/dev/ptmx"], [(SOL_SOCKET, SCM_RIGHTS, rights)])
        finally:
            connection.close()
    except OSError as error:
        raise OSError(error.errno, f"--console-socket {path}: {error.strerror}") from error
    finally:
        os.close(master)


class Relay:
    """Between our own terminal (or pipes) and a container's, until its process has ended."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._before: list[object] | None = None
        os.set_blocking(master, False)

    def __enter__(self) -> Relay:
        self.resize()
        if os.isatty(0):
            self._before = termios.tcgetattr(0)
            _make_raw(0)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)  # type: ignore[arg-type]
        os.close(self._master)

    def resize(self) -> None:
        try:
            size = fcntl.ioctl(0, _TIOCGWINSZ, b"\0" * 8)
        except OSError:
            return  # ours is no terminal
        rows, columns, _, _ = struct.unpack("4H", size)
        if rows and columns:
            syscalls.set_window_size(self._master, rows, columns)

    def pump(self, ended: int) -> None:
        """Until the descriptor `ended` is readable and all output has been taken."""
        poller = select.poll()
        poller.register(self._master, select.POLLIN)
        poller.register(ended, select.POLLIN)
        poller.register(0, select.POLLIN)
        while True:
            ready = dict(poller.poll())
            if ready.get(self._master) and not self._take_output():
                return
            if ready.get(0) and not self._pass_input():
                poller.unregister(0)
            if ready.get(ended):
                self._drain()
                return

    def _take_output(self) -> bool:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:  # EIO: nobody has the other side open
            return False
        _write_all(1, data)
        return bool(data)

    def _drain(self) -> None:
        poller = select.poll()
        poller.register(self._master, select.POLLIN)
        while poller.poll(0) and self._take_output():
            continue

    def _pass_input(self) -> bool:
        data = os.read(0, _CHUNK)
        if not data:
            data, more = b"\x04", False  # end of input, as a terminal says it
        else:
            more = True
        try:
            os.set_blocking(self._master, True)
            _write_all(self._master, data)
        except OSError:
            return False
        finally:
            os.set_blocking(self._master, False)
        return more


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _make_raw(fd: int) -> None:
    mode = termios.tcgetattr(fd)
    mode[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INPCK | termios.ISTRIP | termios.IXON)
    mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN | termios.ISIG)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSADRAIN, mode)
