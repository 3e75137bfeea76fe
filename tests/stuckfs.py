"""A file system of one file that nobody can read to its end, nor be killed while trying.

Spoken to the kernel over /dev/fuse: INIT, LOOKUP, GETATTR and OPEN are answered, READ never. Who
reads waits in the kernel, from the first signal on in state D, until the connection is closed.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import struct
import threading
from collections.abc import Callable

from tiffin.kernel import mounts

FILE = "file"
_FILE_NODE = 2
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _INIT = 1, 2, 3, 14, 15, 26
_INTERRUPT, _BATCH_FORGET = 36, 42
_UNANSWERED = frozenset({_FORGET, _BATCH_FORGET, _INTERRUPT, _READ})
_OPENED = 1 | 2  # past the page cache, and without dropping it: a read() is one request
_LOOKUPS_IN_PARALLEL = 1 << 18
_LARGEST_REQUEST = 1 << 17
_HEADER = struct.Struct("=IIQQIIIHH")  # length, operation, unique, node, …
_ANSWER = struct.Struct("=IiQ")  # length, error, unique
_ATTRIBUTES = struct.Struct("=QQQQQQIIIIIIIIII")


def is_possible() -> bool:
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return True


class StuckFiles:
    """Mounted at `path` until `release`, which fails whoever reads with ENOTCONN.

    A `mute` one does not even say what there is: then everything asked for counts as a read.
    """

    def __init__(self, path: str, *, mute: bool = False) -> None:
        self.path = path
        self.reads = threading.Semaphore(0)  # released once for each READ
        self._mute = mute
        self._device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self._ending, self._end = os.pipe()
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        mounts.mount("stuck", path, "fuse", 0, options)
        self._server = threading.Thread(target=self._serve, name="stuck files")
        self._server.start()

    def release(self) -> None:
        """Idempotent."""
        if self._end < 0:
            return
        os.close(self._end)
        self._end = -1
        self._server.join()
        os.close(self._device)  # the connection is aborted with its last descriptor
        os.close(self._ending)
        mounts.umount(self.path, mounts.MNT_DETACH)

    def _serve(self) -> None:
        watched = select.poll()
        watched.register(self._device, select.POLLIN)
        watched.register(self._ending, select.POLLHUP)
        while all(descriptor != self._ending for descriptor, _ in watched.poll()):
            try:
                request = os.read(self._device, _LARGEST_REQUEST)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EINTR):  # it was interrupted meanwhile
                    return
                continue
            self._take(request)

    def _take(self, request: bytes) -> None:
        _, operation, unique, node, *_ = _HEADER.unpack_from(request)
        if operation == _READ or (self._mute and operation != _INIT):
            self.reads.release()
        if operation in _UNANSWERED or (self._mute and operation != _INIT):
            return
        answer = _ANSWERS.get(operation)
        try:
            body = answer(node, request[_HEADER.size :]) if answer else None
        except FileNotFoundError:
            error, body = -errno.ENOENT, b""
        else:
            error, body = (0, body) if body is not None else (-errno.ENOSYS, b"")
        os.write(self._device, _ANSWER.pack(_ANSWER.size + len(body), error, unique) + body)


def _init(_node: int, body: bytes) -> bytes:
    _, minor, read_ahead, _ = struct.unpack_from("=IIII", body)
    answer = (7, min(minor, 31), read_ahead, _LOOKUPS_IN_PARALLEL, 1, 1, 4096, 1, 1, 0, 0)
    return struct.pack("=IIIIHHIIHHI28x", *answer)


def _look_up(_node: int, body: bytes) -> bytes:
    if body.rstrip(b"\0").decode() != FILE:
        raise FileNotFoundError
    return struct.pack("=QQQQII", _FILE_NODE, 0, 3600, 3600, 0, 0) + _attributes(_FILE_NODE)


def _get_attributes(node: int, _body: bytes) -> bytes:
    return struct.pack("=QII", 3600, 0, 0) + _attributes(node)


def _attributes(node: int) -> bytes:
    is_file = node == _FILE_NODE
    mode = stat.S_IFREG | 0o644 if is_file else stat.S_IFDIR | 0o755
    size = 4096 if is_file else 0
    return _ATTRIBUTES.pack(node, size, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def _open(_node: int, _body: bytes) -> bytes:
    return struct.pack("=QII", 0, _OPENED, 0)


_ANSWERS: dict[int, Callable[[int, bytes], bytes]] = {
    _INIT: _init,
    _LOOKUP: _look_up,
    _GETATTR: _get_attributes,
    _OPEN: _open,
}
