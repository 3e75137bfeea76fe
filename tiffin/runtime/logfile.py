"""A container's log on disk: files that grow to a size, rotate, and are compressed if asked.

`path` is the youngest; path.1, path.2, … are older, with .gz behind the name once compressed. That
is the work of a child that ends with it: a shim has others to serve meanwhile. Compressed files
say in their header which file they were, so that whoever follows the log knows what it has read.
"""

from __future__ import annotations

import os
import zlib

from tiffin.kernel import syscalls
from tiffin.runtime.logs import encode_block, encode_local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Encode = Callable[[bytes, str, int], bytes]

_ENCODERS: dict[str, Encode] = {"json-file": encode_block, "local": encode_local}
_UNFINISHED = ".gz.new"
_FRESH = ".new"
_CHUNK = 1 << 18
_SIGKILL = 9


def open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


class LogWriter:
    """Appends blocks to `path`; beyond `max_size` bytes that becomes path.1, path.1 path.2, ...

    A full disk loses lines (`lost_bytes` counts) and never stops the container.
    """

    full = False  # a disk takes what it is given, or loses it

    def __init__(
        self,
        path: str,
        max_size: int,
        max_files: int,
        fd: int = -1,
        *,
        format: str = "json-file",  # noqa: A002 (its name in Docker)
        compress: bool = False,
        attrs: str = "",
    ) -> None:
        """`fd` is of `path` by open_log, and ours from here on. `attrs`: those of each record."""
        self._path = path
        self._max_size = max_size
        self._max_files = max(1, max_files)
        self._encode = _ENCODERS[format]
        if attrs:
            self._encode = lambda block, stream, time_ns: encode_block(
                block, stream, time_ns, attrs
            )
        self._compress = compress
        self._compressing = 0  # pid of the child
        self._fd = fd if fd >= 0 else open_log(path)
        self._size = os.fstat(self._fd).st_size
        self.lost_bytes = 0
        self._kept = False
        if compress:
            _unlink(path + _UNFINISHED)
            self._compress_next()

    def keep(self, *, kept: bool) -> None:
        """While `kept`, no file rotates: somebody reads the log up to a position of it."""
        self._kept = kept

    def position(self) -> tuple[str, int]:
        """Where the log ends: (its youngest file's inode, the size of that)."""
        return inode_of(os.fstat(self._fd)), self._size

    def write(self, block: bytes, stream: str, time_ns: int) -> None:
        data = self._encode(block, stream, time_ns)
        if 0 < self._max_size < self._size + len(data) and not self._kept:
            half = len(block) // 2
            middle = block.rfind(b"\n", 0, half) + 1 or block.find(b"\n", half) + 1
            if 0 < middle < len(block):  # several records: some may have room
                self.write(block[:middle], stream, time_ns)
                self.write(block[middle:], stream, time_ns)
                return
            if self._size:
                self._rotate()
        self._append(data)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._fd, view)
                self._size += written
                view = view[written:]
        except OSError:
            self.lost_bytes += len(view)
            self._repair(len(data) - len(view))

    def _repair(self, written: int) -> None:
        """Take half a record back, or every reader would stumble over it."""
        if not written:
            return
        try:
            os.ftruncate(self._fd, self._size - written)
            self._size -= written
        except OSError:
            return

    def _rotate(self) -> None:
        try:
            if self._max_files > 1:
                self._shift()
                fresh = open_log(self._path)
            else:
                fresh = self._replace()
            os.close(self._fd)
            self._fd, self._size = fresh, 0
        except OSError:
            return  # go on in the file that is open
        if self._compress:
            self._compress_next()

    def _replace(self) -> int:
        """An empty file in the stead of ours, which whoever reads it still has to its end."""
        _unlink(self._path + _FRESH)
        fresh = open_log(self._path + _FRESH)
        os.rename(self._path + _FRESH, self._path)
        return fresh

    def _shift(self) -> None:
        oldest = f"{self._path}.{self._max_files - 1}"
        if self._compress:
            _unlink(oldest + ".gz")
            _unlink(oldest)
        for number in range(self._max_files - 1, 1, -1):
            older, newer = f"{self._path}.{number}", f"{self._path}.{number - 1}"
            for suffix in ("", ".gz") if self._compress else ("",):
                if os.path.exists(newer + suffix):
                    os.rename(newer + suffix, older + suffix)
        os.rename(self._path, f"{self._path}.1")

    # -- compression ---

    def _compress_next(self) -> None:
        """The oldest file that is not compressed yet, unless one is under way."""
        if self._compressing:
            return
        for number in range(self._max_files - 1, 0, -1):
            try:
                source = os.open(f"{self._path}.{number}", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                self._compressing = _compress_apart(source, self._path + _UNFINISHED)
            finally:
                os.close(source)
            return

    def child_ended(self, pid: int, status: int) -> None:
        """A child of this process has ended; if it was the one that compressed, go on."""
        if pid != self._compressing:
            return
        self._compressing = 0
        if status:
            self._compress = False  # a full disk, mostly: files stay as they are
            _unlink(self._path + _UNFINISHED)
            return
        self._put_in_place()
        self._compress_next()

    def _put_in_place(self) -> None:
        """In the stead of its source, which rotation may have given another number."""
        unfinished = self._path + _UNFINISHED
        try:
            with open(unfinished, "rb") as file:
                identity = origin(file.read(ORIGIN_BYTES))
            for number in range(1, self._max_files):
                plain = f"{self._path}.{number}"
                if os.path.exists(plain) and identity == _identity_of(plain):
                    os.rename(unfinished, plain + ".gz")
                    os.unlink(plain)
                    return
        except OSError:
            pass
        _unlink(unfinished)  # it is too old to be kept

    @property
    def compressing(self) -> int:
        """The pid of the child that does, or 0. Its end is for `child_ended`."""
        return self._compressing

    def close(self) -> None:
        """Nothing goes on after it: what is not compressed yet is left to the next writer."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._compressing:
            try:
                os.kill(self._compressing, _SIGKILL)
                os.waitpid(self._compressing, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self._compressing = 0
            _unlink(self._path + _UNFINISHED)


# -- compressed files: a gzip header whose comment says which file they were, by its inode, which
# may have been given to another since, and how it begins ---

ORIGIN_BYTES = 64
BEGINNING_BYTES = 1024
_HEADER = b"\x1f\x8b\x08\x10\0\0\0\0\0\xff"


def inode_of(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}:"


def _identity(fd: int) -> str:
    return f"{inode_of(os.fstat(fd))}{zlib.crc32(os.pread(fd, BEGINNING_BYTES, 0))}"


def _identity_of(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _identity(fd)
    finally:
        os.close(fd)


def origin(header: bytes) -> str:
    """Of a compressed file's first bytes; "" if it is none of ours."""
    if not header.startswith(_HEADER):
        return ""
    return header[len(_HEADER) :].partition(b"\0")[0].decode("latin-1")


def _compress_apart(source: int, path: str) -> int:
    """The pid of a child that compresses `source` to `path`; 0 if there is none."""
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid:
        return pid
    status = 1
    try:
        os.dup2(source, 3)  # nothing of the shim's may stay open here: clients wait for its end
        syscalls.close_range(4, 0xFFFFFFFF)
        os.nice(10)
        _compress(3, path)
        status = 0
    except Exception as error:  # noqa: BLE001 (this process's end, whatever it is)
        os.write(2, f"compress {path}: {error}\n".encode())
    finally:
        os._exit(status)


def _compress(source: int, path: str) -> None:
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    _write_all(target, b"%b%b\0" % (_HEADER, _identity(source).encode()))
    deflate, checksum, size = zlib.compressobj(wbits=-zlib.MAX_WBITS), 0, 0
    while data := os.read(source, _CHUNK):
        checksum, size = zlib.crc32(data, checksum), size + len(data)
        _write_all(target, deflate.compress(data))
    end = checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")
    _write_all(target, deflate.flush() + end)
    os.fsync(target)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
