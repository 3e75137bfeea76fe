"""System calls as a list, and a process that has no more than what it takes to make them.

Who executes a program leaves behind the memory of who it was, and execve(2) takes that down page by
page before the program runs: of an interpreter that is a millisecond, most of the way from "go" to
the first instruction. A process that only waits to be told what to execute can part with it before.
It keeps an `Area`: a page of machine code that makes one system call after the other, the list of
them, which it receives, and what they work on. Nothing of it can be read from a core or by ptrace
that could not before: the address space is the same one, only nearly empty.

A record is eight words of 64 bits: the number of the call, its six arguments, and how far away, in
bytes, the record is that comes next if it fails; otherwise the one behind it does. There is one
call of our own: COMPARE. x86-64 only; elsewhere `is_known` is False.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from _socket import MSG_CMSG_CLOEXEC

# arch/x86/entry/syscalls/syscall_64.tbl
WRITE, MUNMAP, SENDTO, RECVFROM, RECVMSG, EXECVE = 1, 11, 44, 45, 47, 59
GETCWD, CHDIR, UMASK, EXIT_GROUP, NEWFSTATAT = 79, 80, 95, 231, 262
DUP3, PRLIMIT64, FACCESSAT2 = 292, 302, 439
_RSEQ = 334
COMPARE = -1  # bytes at the first argument with those at the second, as many as the third says

# struct stat of x86-64: where its words for a file's device and inode lie, and for its times of
# modification and change (seconds, nanoseconds).
STAT_FILE, STAT_TIMES = 0, 88

_CODE = bytes.fromhex(
    "4889fb"  # mov rbx, rdi       the first record
    "4889f5"  # mov rbp, rsi       where to say what has failed
    #           next:
    "488b03"  # mov rax, [rbx]
    "4885c0"  # test rax, rax
    "7835"  #   js compare
    "488b7b08"  # mov rdi, [rbx+8]
    "488b7310"  # mov rsi, [rbx+16]
    "488b5318"  # mov rdx, [rbx+24]
    "4c8b5320"  # mov r10, [rbx+32]
    "4c8b4328"  # mov r8, [rbx+40]
    "4c8b4b30"  # mov r9, [rbx+48]
    "0f05"  #   syscall
    "483d01f0ffff"  # cmp rax, -4095
    "7306"  #   jae failed
    #           done:
    "4883c340"  # add rbx, 64
    "ebd0"  #   jmp next
    #           failed:
    "48f7d8"  # neg rax
    "48894500"  # mov [rbp], rax
    #           otherwise:
    "48035b38"  # add rbx, [rbx+56]
    "ebc3"  #   jmp next
    #           compare:
    "488b7308"  # mov rsi, [rbx+8]
    "488b7b10"  # mov rdi, [rbx+16]
    "488b4b18"  # mov rcx, [rbx+24]
    "f3a6"  #   repe cmpsb
    "74dd"  #   je done
    "ebe8"  #   jmp otherwise
)
_RECORD_BYTES = 64
_DATA = 2**62  # and from here on: no number or address, but a place behind the records
_PAGE = 4096

MESSAGE_BYTES = 16 * _PAGE  # of a list that is received
SCRATCH_BYTES = _PAGE
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_PRIVATE_ANONYMOUS = 0x22
_RSEQ_FLAG_UNREGISTER, _RSEQ_SIGNATURE = 1, 0x53053053
_RSEQ_LENGTHS = (32, 64)  # that C libraries have registered
_STACK_BYTES = 128 * 1024  # below its beginning there is nothing else

_libc = ctypes.PyDLL(None, use_errno=True)
_long = ctypes.c_long
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mprotect = _libc.mprotect
_pthread_self = _libc.pthread_self
_pthread_self.restype = ctypes.c_void_p
_run = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)

is_known = os.uname().machine == "x86_64" and sys.maxsize > 2**32


class Label:
    """A record that others go to. It may be one of another list, at an address."""

    __slots__ = ("address",)

    def __init__(self, address: int = 0) -> None:
        self.address = address


class Calls:
    """A list that will lie at an address, and behind its records whatever they point to."""

    def __init__(self, address: int) -> None:
        self._address = address
        self._words: list[int] = []  # of the records
        self._labels: list[Label] = []  # of each, the one that it goes to if it fails
        self._data = bytearray()
        self._arrays: list[tuple[int, list[int]]] = []  # where they are, and of what

    def put(self, data: bytes) -> int:
        """To be an argument of a call of this list."""
        place = _DATA + len(self._data)
        self._data += data
        return place

    def text(self, data: bytes) -> int:
        """As C has it. A zero byte in it ends it, so there should be none."""
        return self.put(data + b"\0")

    def texts(self, words: list[bytes]) -> int:
        """As argv and envp."""
        places = [self.text(word) for word in words]
        self._data += bytes(-len(self._data) % 8)
        array = self.put(bytes(8 * (len(places) + 1)))
        self._arrays.append((array - _DATA, places))
        return array

    def call(
        self,
        otherwise: Label,
        number: int,
        first: int = 0,
        second: int = 0,
        third: int = 0,
        fourth: int = 0,
    ) -> None:
        """With up to four arguments; the others are 0."""
        self._words += (number, first, second, third, fourth, 0, 0, 0)
        self._labels.append(otherwise)

    def compare(self, otherwise: Label, address: int, data: bytes) -> None:
        self.call(otherwise, COMPARE, address, self.put(data), len(data))

    def jump(self, label: Label) -> None:
        different = self.put(b"\0\1")
        self.call(label, COMPARE, different, different + 1, 1)

    def here(self, label: Label) -> None:
        label.address = self._address + _RECORD_BYTES * len(self._labels)

    def finish(self) -> bytes:
        here, behind = self._address, self._address + _RECORD_BYTES * len(self._labels) - _DATA
        words = [behind + word if word >= _DATA else word for word in self._words]
        words[7::8] = [
            label.address - here - _RECORD_BYTES * n for n, label in enumerate(self._labels)
        ]
        for place, of in self._arrays:
            struct.pack_into(f"<{len(of)}q", self._data, place, *[behind + one for one in of])
        return struct.pack(f"<{len(words)}q", *words) + self._data


class Area:
    """What is left of a process, once it runs there: made while it is allowed to."""

    def __init__(self) -> None:
        """Raises OSError, also where a policy forbids memory that was written to be executed."""
        if not is_known:
            raise OSError("machine code for this processor is not known")
        _leave_rseq()
        size = 2 * _PAGE + 2 * SCRATCH_BYTES + _TAIL_BYTES + MESSAGE_BYTES
        protection = _PROT_READ | _PROT_WRITE
        start = _mmap(
            None, ctypes.c_size_t(size), protection, _MAP_PRIVATE_ANONYMOUS, -1, ctypes.c_long(0)
        )
        if start in (None, ctypes.c_void_p(-1).value):
            raise OSError(ctypes.get_errno(), "mmap")
        self._start: int = start
        self._end = start + size
        _put(start, _CODE)
        code = ctypes.c_void_p(start), ctypes.c_size_t(_PAGE)
        if _mprotect(*code, _PROT_READ | _PROT_EXEC):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.failed = start + _PAGE  # a word: the errno of what has failed last
        self.scratch = start + 2 * _PAGE, start + 2 * _PAGE + SCRATCH_BYTES
        self.tail = self.scratch[1] + SCRATCH_BYTES
        self.message = self.tail + _TAIL_BYTES

    def add_tail(self, calls: bytes) -> None:
        """A list for `self.tail`, of up to 8 kB, that the one to come may go on with."""
        if len(calls) > _TAIL_BYTES:
            raise ValueError("the list is too long")
        _put(self.tail, calls)

    def run(self, channel: int, stack: int) -> None:
        """Give up all other memory, receive a list by `channel` and make its calls: no return.

        The list is one message of at most MESSAGE_BYTES for `self.message`. Descriptors that come
        with it get the lowest free numbers and are closed on exec. `stack` is where this process's
        begins, as /proc/PID/stat has it.
        """
        floor = (stack & -_PAGE) - _STACK_BYTES
        header, vector, control = (self.failed + 64 * n for n in (1, 2, 3))
        _put(header, struct.pack("<QQQQQQQ", 0, 0, vector, 1, control, 64, 0))
        _put(vector, struct.pack("<QQ", self.message, MESSAGE_BYTES))
        # What is there if nothing comes: the end.
        _put(self.message, struct.pack("<8Q", EXIT_GROUP, 1, 0, 0, 0, 0, 0, 0))
        first = self.message - 3 * _RECORD_BYTES  # right before it
        calls = Calls(first)
        for start, length in ((0, self._start), (self._end, floor - self._end)):
            behind = Label()
            calls.call(behind, MUNMAP, start, length)
            calls.here(behind)
        calls.call(Label(self.message), RECVMSG, channel, header, MSG_CMSG_CLOEXEC)
        _put(first, calls.finish())
        _run(self._start)(first, self.failed)


_TAIL_BYTES = 2 * _PAGE


def _put(address: int, data: bytes) -> None:
    ctypes.memmove(address, data, len(data))


def _leave_rseq() -> None:
    """The kernel writes to what the C library has registered, and ends who has unmapped it."""
    try:
        offset = ctypes.c_ssize_t.in_dll(_libc, "__rseq_offset").value
        size = ctypes.c_uint.in_dll(_libc, "__rseq_size").value
    except ValueError:
        return  # a library that does not know of it
    if not size:
        return  # or has been told not to
    area = ctypes.c_void_p(_pthread_self() + offset)
    for length in _RSEQ_LENGTHS:
        words = _long(length), _long(_RSEQ_FLAG_UNREGISTER), _long(_RSEQ_SIGNATURE)
        if _syscall(_long(_RSEQ), area, *words) == 0:
            return
    raise OSError(ctypes.get_errno(), "rseq")
