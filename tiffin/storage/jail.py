"""The jail: a child process that can see nothing but the directory that it unpacks into.

The child is a fresh isolated interpreter. It imports what it needs, enters namespaces of its own
(mounts, network, IPC), makes an empty root, changes to the target directory as its root, drops
capabilities, and only then reads the archive's first byte beyond the magic number. Decompressing,
hashing and writing happen in it; it answers with one line. It dies with the thread that started it.

`unpack` is the parent's side; `main` the child's.
"""

from __future__ import annotations

import importlib.util
import io
import os
import stat
import subprocess
import sys
import threading
from typing import IO, BinaryIO

from tiffin.errors import EngineFailure, InvalidArgument
from tiffin.storage import unpack as unpacking
from tiffin.storage.idmap import IdMap

GIB = 1 << 30
MIN_BUDGET_BYTES = 16 * GIB
MAX_RATIO = 128  # beyond the minimum, an archive may grow this much: more is a bomb

_BOOT = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from tiffin.storage.jail_child import main
main()
"""
_PIPE_BYTES = 1 << 20
_MAX_ANSWER = 64 * 1024


class Unpacked:
    """Digest and size of an archive's uncompressed bytes, and how many bytes its files hold."""

    __slots__ = ("content_bytes", "diff_id", "size")

    def __init__(self, diff_id: str, size: int, content_bytes: int):
        self.diff_id = diff_id
        self.size = size
        self.content_bytes = content_bytes


def unpack(
    archive: BinaryIO,
    directory_fd: int,
    *,
    lower_fd: int = -1,
    whiteouts: str = unpacking.OVERLAY,
    owner: tuple[int, int] | None = None,
    keep_kinds: bool = False,
    ids: IdMap | None = None,
    within: unpacking.Within | None = None,
    in_use: bool = False,
    digest: bool = True,
    budget_bytes: int = 0,
) -> Unpacked:
    """Unpack a tar, compressed or not, from where `archive` stands to its end.

    `directory_fd` is the root and need not be attached anywhere. `budget_bytes` limits the
    uncompressed stream; 0 derives it from the archive's size. Without `digest` the diff ID is "-".
    See storage.unpack for the rest.
    Raises InvalidArgument for a corrupt or hostile archive, EngineFailure for a full disk and the
    like. What was unpacked until then stays: the caller removes it.
    """
    direct = _file_descriptor(archive)
    whole_fd = within.whole_fd if within else -1
    options = {
        "root": directory_fd,
        "lower": lower_fd,
        "whiteouts": whiteouts,
        "owner": "" if owner is None else f"{owner[0]}:{owner[1]}",
        "keep": int(keep_kinds),
        "ids": ids or "",
        "whole": whole_fd,
        "place": os.fsdecode(within.path(b"")) if within else "",
        "in_use": int(in_use),
        "digest": int(digest),
        "budget": budget_bytes or _budget(archive, direct),
    }
    passed = [fd for fd in (directory_fd, lower_fd, whole_fd) if fd >= 0]
    if direct is not None:
        return _result(_start(direct, options, passed))
    return _pumped(archive, options, passed)


def _file_descriptor(archive: BinaryIO) -> int | None:
    """The archive's own descriptor, positioned, if the child can read it as the parent would."""
    try:
        fd = archive.fileno()
        if isinstance(archive, io.FileIO) and stat.S_ISFIFO(os.fstat(fd).st_mode):
            return fd
        os.lseek(fd, archive.tell(), os.SEEK_SET)
    except (OSError, AttributeError):
        return None
    return fd


def _budget(archive: BinaryIO, direct: int | None) -> int:
    status = None if direct is None else os.fstat(direct)
    is_file = status is not None and stat.S_ISREG(status.st_mode)
    size = status.st_size - archive.tell() if status is not None and is_file else 0
    return max(MIN_BUDGET_BYTES, MAX_RATIO * size)


def _start(stdin: int, options: dict[str, object], passed: list[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _BOOT,
            ":".join(_module_path()),
            *(f"{key}={value}" for key, value in options.items()),
        ],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=passed,
        cwd="/",
        env={},
    )


def _module_path() -> list[str]:
    """Where the child finds tiffin, isal and zstandard: -I and -S leave it the standard library."""
    specs = (importlib.util.find_spec(name) for name in ("tiffin", "isal", "zstandard"))
    files = (spec.origin for spec in specs if spec is not None and spec.origin)
    return list(dict.fromkeys(os.path.dirname(os.path.dirname(file)) for file in files))


def _pumped(archive: BinaryIO, options: dict[str, object], passed: list[int]) -> Unpacked:
    """For a stream that only this process can read: a thread feeds it through a pipe."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    try:
        child = _start(reading, options, passed)
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    failures: list[Exception] = []
    pump = threading.Thread(target=_pump, args=(archive, writing, failures), daemon=True)
    pump.start()
    try:
        return _result(child)
    finally:
        pump.join()
        if failures:
            raise failures[0]


def _pump(archive: BinaryIO, writing: int, failures: list[Exception]) -> None:
    try:
        with open(writing, "wb", buffering=0) as pipe:
            while data := archive.read(_PIPE_BYTES):
                view = memoryview(data)
                while view:
                    view = view[pipe.write(view) or 0 :]
    except BrokenPipeError:
        return  # the child has given up; its answer says why
    except Exception as error:  # noqa: BLE001 - whatever the reader raises belongs to the caller
        failures.append(error)


def _result(child: subprocess.Popen[bytes]) -> Unpacked:
    answer = _answer(child)
    kind, _, rest = answer.rpartition("\n")[2].partition(" ")
    if kind == "unpacked":
        diff_id, size, content = rest.split(" ")
        return Unpacked(diff_id, int(size), int(content))
    if kind == "invalid":
        raise InvalidArgument(rest)
    if kind == "failed":
        raise EngineFailure(rest)
    if child.returncode < 0:
        raise EngineFailure(f"unpacking was ended by signal {-child.returncode}")
    raise EngineFailure(f"unpacking failed (status {child.returncode}): {answer[-2000:]}")


def _answer(child: subprocess.Popen[bytes]) -> str:
    assert child.stdout is not None
    output: IO[bytes] = child.stdout
    try:
        with output:
            data = output.read(_MAX_ANSWER)
    finally:
        if child.poll() is None and not data:
            child.kill()
        child.wait()
    return data.decode(errors="replace").strip()
