"""The device allow-list of cgroup v2: a small BPF program, assembled here, attached to a cgroup.

The kernel runs it on every open and mknod of a device with (type | access << 16, major, minor)
(struct bpf_cgroup_dev_ctx); 1 allows, 0 is EPERM. Rules are those of OCI's
linux.resources.devices, where the last one that matches decides, so the program asks them last
first. Everything raises OSError.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESS = 7

# Opcodes (linux/bpf.h): class | size or operation | source.
_LOAD_WORD = 0x61  # dst = *(u32 *)(src + offset)
_MOVE32 = 0xBC  # dst = src
_AND32_K = 0x54
_SHIFT_RIGHT32_K = 0x74
_SET64_K = 0xB7
_JUMP_NOT_EQUAL32_K = 0x56
_JUMP_EQUAL32_K = 0x16
_EXIT = 0x95

_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR, _SCRATCH = 0, 1, 2, 3, 4, 5, 6


def device_program(rules: list[dict[str, Any]]) -> bytes:
    """The program for a list of rules; what no rule matches is refused."""
    program = [
        _instruction(_LOAD_WORD, _TYPE, _CONTEXT, 0),
        _instruction(_MOVE32, _WANTED, _TYPE),
        _instruction(_AND32_K, _TYPE, constant=0xFFFF),
        _instruction(_SHIFT_RIGHT32_K, _WANTED, constant=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        program += _rule(rule)
        if _matches_all(rule):
            return b"".join(program)
    return b"".join(program + _answer(0))


def _matches_all(rule: dict[str, Any]) -> bool:
    return not _tests(rule)


def _rule(rule: dict[str, Any]) -> list[bytes]:
    """Tests that jump over the answer when they fail."""
    tests, answer = _tests(rule), _answer(int(bool(rule["allow"])))
    flat: list[bytes] = []
    length = sum(map(len, tests)) + len(answer)
    for test in tests:
        # A jump's offset counts from the instruction after it: to the one after our answer.
        distance = length - len(flat) - len(test)
        opcode, registers, _, constant = struct.unpack("=BBhi", test[-1])
        flat += [*test[:-1], struct.pack("=BBhi", opcode, registers, distance, constant)]
    return flat + answer


def _tests(rule: dict[str, Any]) -> list[list[bytes]]:
    """Groups of instructions, each ending in a jump that is taken when the rule does not match."""
    tests: list[list[bytes]] = []
    kind = rule.get("type") or "a"
    if kind != "a":
        tests.append([_instruction(_JUMP_NOT_EQUAL32_K, _TYPE, constant=_TYPES[kind])])
    access = sum(_ACCESS[letter] for letter in dict.fromkeys(rule.get("access") or "rwm"))
    if access != _ALL_ACCESS:
        tests.append(_access_test(access, allow=bool(rule["allow"])))
    for name, register in (("major", _MAJOR), ("minor", _MINOR)):
        number = rule.get(name)
        if kind != "a" and number is not None and number >= 0:
            tests.append([_instruction(_JUMP_NOT_EQUAL32_K, register, constant=number)])
    return tests


def _access_test(access: int, *, allow: bool) -> list[bytes]:
    """Allowing needs all of what is wanted inside the rule's access; refusing, any of it."""
    mask = (_ALL_ACCESS & ~access) if allow else access
    jump = _JUMP_NOT_EQUAL32_K if allow else _JUMP_EQUAL32_K
    return [
        _instruction(_MOVE32, _SCRATCH, _WANTED),
        _instruction(_AND32_K, _SCRATCH, constant=mask),
        _instruction(jump, _SCRATCH, constant=0),
    ]


def _answer(value: int) -> list[bytes]:
    return [_instruction(_SET64_K, _RESULT, constant=value), _instruction(_EXIT)]


def _instruction(
    opcode: int, destination: int = 0, source: int = 0, offset: int = 0, constant: int = 0
) -> bytes:
    return struct.pack("=BBhi", opcode, source << 4 | destination, offset, constant)


# --- loading ------------------------------------------------------------------------------------


def attach_device_program(directory: str, program: bytes) -> None:
    """Let the program rule the cgroup at `directory`, in place of the one that did.

    An ancestor's program goes on to be asked too: both have to allow.
    """
    target = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        before = _attached(target)
        handle = _load(program)
        try:
            attributes = struct.pack("=IIII", target, handle, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
            _bpf(_PROG_ATTACH, attributes)
        finally:
            os.close(handle)  # the cgroup holds the program
        for identifier in before:
            _detach(target, identifier)
    finally:
        os.close(target)


def _load(program: bytes) -> int:
    code, license_name = (
        ctypes.create_string_buffer(program),
        ctypes.create_string_buffer(b"Apache"),
    )
    attributes = struct.pack(
        "=IIQQIIQII16s",
        _TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license_name),
        0,
        0,
        0,
        0,
        0,
        b"tiffin_devices",
    )
    return _bpf(_PROG_LOAD, attributes)


def _attached(target: int) -> list[int]:
    identifiers = (ctypes.c_uint32 * 64)()
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "=IIIIQI4x",
            target,
            _ATTACH_CGROUP_DEVICE,
            0,
            0,
            ctypes.addressof(identifiers),
            len(identifiers),
        ),
        64,
    )
    _bpf_in_place(_PROG_QUERY, attributes)
    count: int = struct.unpack_from("=I", attributes, 24)[0]
    return list(identifiers[:count])


def _detach(target: int, identifier: int) -> None:
    handle = _bpf(_PROG_GET_FD_BY_ID, struct.pack("=III", identifier, 0, 0))
    try:
        _bpf(_PROG_DETACH, struct.pack("=IIII", target, handle, _ATTACH_CGROUP_DEVICE, 0))
    finally:
        os.close(handle)


def _bpf(command: int, attributes: bytes) -> int:
    return _bpf_in_place(command, ctypes.create_string_buffer(attributes, len(attributes)))


def _bpf_in_place(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    number = _SYSCALL_NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf: unknown system call number on {os.uname().machine}")
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(
        number, command, ctypes.byref(attributes), ctypes.c_size_t(len(attributes))
    )
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf command {command}: {os.strerror(code)}")
    return result
