"""Clients that wait for a container's end, kept by its shim.

Such a client has the head of its HTTP answer already and is owed one chunk: a document with the
exit code. The daemon says when it has taken note of the exit, or of the removal; where there is no
daemon to say so, nobody makes the client wait for one.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT, MSG_NOSIGNAL, SHUT_WR, socket

from tiffin.runtime.loop import GONE, READ, Loop


def last_chunk(before: str, exit_code: int, after: str) -> bytes:
    """What ends a chunked answer: the document, whole, and the empty chunk."""
    document = f"{before}{exit_code}{after}".encode()
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(document), document)


class _Wait:
    def __init__(self, fd: int, before: str, after: str, *, of_removal: bool) -> None:
        self.connection = socket(fileno=fd)
        self.fd = fd
        self.before = before
        self.after = after
        self.of_removal = of_removal


class Waits:
    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waits: list[_Wait] = []
        self._exit_code = -1  # not known yet
        self._told = False  # the exit is known to all, but for those who wait for the removal

    def __len__(self) -> int:
        return len(self._waits)

    def add(self, fd: int, before: str, after: str, *, of_removal: bool) -> None:
        wait = _Wait(fd, before, after, of_removal=of_removal)
        self._waits.append(wait)
        self._loop.add(fd, READ, lambda events: self._on_client(wait, events))
        if self._told and not of_removal:
            self._answer(wait)

    def counts(self) -> dict[str, int]:
        """What a daemon that comes is to know of them."""
        removals = sum(wait.of_removal for wait in self._waits)
        return {"exit": len(self._waits) - removals, "removal": removals}

    def ended(self, exit_code: int) -> None:
        self._exit_code = exit_code

    def tell(self, *, removed: bool) -> None:
        """Answer those who wait for the exit, with `removed` the others too."""
        if self._exit_code < 0:
            return
        self._told = True
        for wait in list(self._waits):
            if removed or not wait.of_removal:
                self._answer(wait)

    def forget(self) -> None:
        """Without a word: the daemon has its own copies to answer by."""
        for wait in list(self._waits):
            self._let_go(wait)

    def _answer(self, wait: _Wait) -> None:
        answer = last_chunk(wait.before, self._exit_code, wait.after)
        try:
            # Some hundred bytes for a socket that has only carried an answer's head: they fit.
            wait.connection.send(answer, MSG_DONTWAIT | MSG_NOSIGNAL)
            wait.connection.shutdown(SHUT_WR)  # for whoever else may have a copy
        except OSError:
            pass
        self._let_go(wait)

    def _on_client(self, wait: _Wait, events: int) -> None:
        """A client has nothing to say any more but that it goes."""
        try:
            left = not wait.connection.recv(4096, MSG_DONTWAIT)
        except BlockingIOError:
            left = False
        except OSError:
            left = True
        if left or events & GONE:
            self._let_go(wait)

    def _let_go(self, wait: _Wait) -> None:
        self._waits.remove(wait)
        self._loop.remove(wait.fd)
        wait.connection.close()
