"""The inside of the jail: what runs in the isolated child. See storage.jail for the concept.

Answers on standard output with one line: "unpacked <diff ID> <bytes> <content bytes>",
"invalid <why>" (the archive's fault) or "failed <why>" (the machine's).
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys

from tiffin.errors import InvalidArgument
from tiffin.kernel import mounts
from tiffin.storage import compression, tar, unpack
from tiffin.storage.idmap import IdMap

TYPE_CHECKING = False  # typing's own, without the 5 ms that importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_NAMESPACES = mounts.CLONE_NEWNS | mounts.CLONE_NEWNET | mounts.CLONE_NEWIPC
_SIGKILL = 9
_SMALL_BYTES = 256 * 1024  # below this a thread and OpenSSL cost more than they bring
_AHEAD = 4  # chunks decoded before they are unpacked
_READ_BYTES = 1 << 18
_CAPABILITY_VERSION_3 = 0x20080522
# CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN (trusted.*), MKNOD, SETFCAP
_KEPT_CAPABILITIES = sum(1 << number for number in (0, 1, 3, 4, 21, 27, 31))


def main() -> None:
    options = dict(argument.split("=", 1) for argument in sys.argv[2:])
    try:
        answer = _run(options)
    except InvalidArgument as error:
        answer = f"invalid {error.message}"
    except OSError as error:
        answer = f"failed {_words(error)}"
    except MemoryError:
        answer = "invalid archive needs too much memory"
    os.write(1, answer.replace("\n", "\\n").encode(errors="replace"))
    os._exit(0)  # not waiting for threads, nor for anything that exit handlers might do


def _run(options: dict[str, str]) -> str:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    root, whole = int(options["root"]), int(options["whole"])
    within = unpack.Within(whole, os.fsencode(options["place"])) if whole >= 0 else None
    seen = root if within is None else whole
    ids = IdMap.parse(options["ids"])
    owner = ids.outward(0) if ids is not None else 0
    small, hashed = _is_small(0), options["digest"] == "1"
    stream = _Stream(_sha256(small=small) if hashed else None, int(options["budget"]))
    chunks = _threaded() if hashed and not small else _inline
    if _is_pipe(0):
        # It may be started ahead, long before its stream: all that takes time is done first.
        compression.load_decoders()
        _enter(seen, owner)
        decode = compression.decoder_for(first := _read_exactly(compression.MAGIC_BYTES))
    else:
        decode = compression.decoder_for(first := _read_exactly(compression.MAGIC_BYTES))
        _enter(seen, owner)
    reader = tar.Reader(tar.Source(chunks(stream.pass_on(decode(_input(first))))))
    unpacker = unpack.Unpacker(
        root,
        lower_fd=int(options["lower"]),
        whiteouts=options["whiteouts"],
        owner=_owner(options["owner"]),
        keep_kinds=options["keep"] == "1",
        ids=ids,
        within=within,
        in_use=options["in_use"] == "1",
    )
    unpacker.unpack(reader)
    return f"unpacked {stream.digest} {stream.size} {unpacker.content_bytes}"


def _owner(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    uid, _, gid = text.partition(":")
    return int(uid), int(gid)


def _read_exactly(count: int) -> bytes:
    data = b""
    while len(data) < count and (more := os.read(0, count - len(data))):
        data += more
    return data


def _input(first: bytes) -> Iterator[bytes]:
    yield first
    while data := os.read(0, _READ_BYTES):
        yield data


class _Stream:
    """What is learnt of the uncompressed stream as it goes by: digest and size."""

    def __init__(self, digest: Any, budget: int):
        self._hash = digest
        self._budget = budget
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}" if self._hash is not None else "-"

    def pass_on(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.size += len(chunk)
            if self.size > self._budget:
                raise InvalidArgument(
                    f"archive is too large: more than {self._budget} bytes uncompressed"
                )
            if self._hash is not None:
                self._hash.update(chunk)
            yield chunk


def _is_pipe(fd: int) -> bool:
    return stat.S_ISFIFO(os.fstat(fd).st_mode)


def _is_small(fd: int) -> bool:
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and status.st_size < _SMALL_BYTES


def _sha256(*, small: bool) -> Any:
    """OpenSSL's is four times as fast and takes 3 ms to load."""
    for module in ("_sha256", "_sha2") if small else ():  # _sha2 from Python 3.12 on
        try:
            return __import__(module).sha256()
        except ImportError:
            continue
    import hashlib  # noqa: PLC0415

    return hashlib.sha256()


def _inline(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return chunks


def _threaded() -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """Decode and hash in a thread, a few chunks ahead of the unpacking.

    The C code of both lets go of the interpreter, so the two halves do run at once.
    """
    import threading  # noqa: PLC0415
    from queue import SimpleQueue  # noqa: PLC0415

    ready: SimpleQueue[bytes | BaseException] = SimpleQueue()
    room = threading.Semaphore(_AHEAD)

    def produce(chunks: Iterator[bytes]) -> None:
        try:
            for chunk in chunks:
                if chunk:
                    room.acquire()
                    ready.put(chunk)
        except BaseException as error:  # noqa: BLE001 - raised again where the stream is read
            ready.put(error)
        else:
            ready.put(b"")

    def consume(chunks: Iterator[bytes]) -> Iterator[bytes]:
        threading.Thread(target=produce, args=(chunks,), daemon=True).start()
        while chunk := ready.get():
            if isinstance(chunk, BaseException):
                raise chunk
            room.release()
            yield chunk

    return consume


def _enter(root: int, owner: int = 0) -> None:
    """Leave the host's world. Where namespaces are refused, chroot alone has to do.

    `owner` is whose files new ones are born as: a mount with shifted ids refuses others.
    """
    try:
        mounts.unshare(_NAMESPACES)
    except PermissionError:
        pass
    else:
        _empty_root()
    os.fchdir(root)
    os.chroot(".")
    if owner:
        libc = ctypes.CDLL(None)
        libc.setfsgid(owner)
        libc.setfsuid(owner)  # takes capabilities with it, which are raised again below
    _drop_capabilities()


def _empty_root() -> None:
    """Put an empty tmpfs where the host's root was; the host's mounts go away with that."""
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    context = mounts.fsopen("tmpfs")
    mounts.fsconfig_string(context, "size", "4096")
    mounts.fsconfig_create(context)
    empty = mounts.fsmount(context, mounts.MOUNT_ATTR_RDONLY)
    os.close(context)
    mounts.move_mount(empty, mounts.AT_FDCWD, "/")
    os.fchdir(empty)
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)
    os.close(empty)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _drop_capabilities() -> None:
    """Keep what writing any file needs. Best effort: a child without any has none to drop."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    header = _Header(_CAPABILITY_VERSION_3, 0)
    sets = (_Set * 2)()
    if libc.capget(ctypes.byref(header), ctypes.byref(sets)) != 0:
        return
    for word, kept in zip(sets, (_KEPT_CAPABILITIES, 0), strict=True):
        word.permitted &= kept
        word.effective = word.permitted
        word.inheritable = 0
    libc.capset(ctypes.byref(header), ctypes.byref(sets))


def _words(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on device"
    name = os.fsdecode(error.filename) if error.filename else ""
    words = (error.strerror or str(error)).lower()
    return f"cannot unpack {name}: {words}" if name else f"cannot unpack: {words}"
