"""System call filters: OCI's linux.seccomp to BPF bytes (libseccomp, by ctypes), and loading them.

Compiling takes milliseconds and is done by who plans; loading is for the forked init: one prctl, no
libseccomp. The decision tree is a binary one (CTL_OPTIMIZE 2), which loads and runs faster; and a
program that is kept for many processes is made small (smallfilter): 0.2 ms less for each of them.

A few instructions of our own come first. libseccomp refuses what it does not know with the default
action, EPERM; a libc that asks for a newer system call then fails where ENOSYS would make it fall
back to an older one (runc met that with faccessat2 and fchmodat2). So a number above all that the
profile names is ENOSYS, and names newer than this libseccomp are decided here, by number.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Any

ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
# seccomp(2)'s flags for a filter, by the names that a profile has for them.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1 << 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
}
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_REFUSING = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRAP")  # a default that ENOSYS is kinder than
COMPARISONS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_ATTRIBUTE_BAD_ARCHITECTURE, _ATTRIBUTE_NNP, _ATTRIBUTE_OPTIMIZE = 2, 3, 8
_UNKNOWN = -1  # __NR_SCMP_ERROR

# AUDIT_ARCH_* of linux/audit.h for the architectures that share our own instructions' numbers.
_AUDIT_ARCHITECTURES = {
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_S390": 0x00000016,
    "SCMP_ARCH_LOONGARCH64": 0xC0000102,
}
_NATIVE = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "ppc64le": "SCMP_ARCH_PPC64LE",
    "riscv64": "SCMP_ARCH_RISCV64",
    "s390x": "SCMP_ARCH_S390X",
    "loongarch64": "SCMP_ARCH_LOONGARCH64",
}
_X32_BIT = 0x40000000

# Since 5.1 a new system call has one number on all architectures.
_NUMBERS = {
    name: number
    for number, name in enumerate(
        (
            "process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset "
            "landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv "
            "set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait "
            "futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr "
            "lsm_list_modules mseal setxattrat getxattrat listxattrat removexattrat "
            "open_tree_attr file_getattr file_setattr listns rseq_slice_yield"
        ).split(),
        start=440,
    )
}

Rule = dict[str, Any]


class SeccompError(OSError):
    """The filter cannot be made or loaded."""


class _Comparison(ctypes.Structure):  # struct scmp_arg_cmp
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


# --- compiling ------------------------------------------------------------------------------------

_programs: dict[str, bytes] = {}
_MAX_PROGRAMS = 64


def known(key: str) -> bytes | None:
    """What was remembered by a key that is the same for the same profile."""
    return _programs.get(key)


def remember(key: str, program: bytes) -> None:
    if len(_programs) >= _MAX_PROGRAMS:
        _programs.pop(next(iter(_programs)), None)
    _programs[key] = program


def compile_small(profile: dict[str, Any]) -> bytes:
    """compile_filter, made small: for what is loaded many times. Raises SeccompError."""
    from tiffin.kernel import smallfilter  # noqa: PLC0415 (for who compiles once it does not pay)

    return smallfilter.shrink(compile_filter(profile))


def compile_filter(profile: dict[str, Any]) -> bytes:
    """The BPF program (an array of struct sock_filter) of an OCI linux.seccomp.

    Names that neither libseccomp nor we know are passed over, as runc does. The profile's flags
    are for who loads the program. Raises SeccompError.
    """
    library = _library()
    default = _action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    context = library.seccomp_init(default)
    if not context:
        raise SeccompError(errno.EINVAL, "seccomp_init", profile["defaultAction"])
    try:
        _set(library, context, _ATTRIBUTE_NNP, 0)
        no_such_call = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
        _set(library, context, _ATTRIBUTE_BAD_ARCHITECTURE, no_such_call)
        library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, 2)  # from libseccomp 2.5 on
        for name in profile.get("architectures") or ():
            _add_architecture(library, context, name)
        for rule in profile.get("syscalls") or ():
            _add_rule(library, context, rule, default)
        exported = _export(library, context)
    finally:
        library.seccomp_release(context)
    return _stub(library, profile) + exported


def vocabulary() -> dict[str, list[str]]:
    """The words that a profile may use, as OCI's `features` lists them."""
    return {
        "actions": sorted(ACTIONS),
        "operators": sorted(COMPARISONS),
        "archs": sorted({*_AUDIT_ARCHITECTURES, "SCMP_ARCH_X32"}),
    }


def _library() -> ctypes.CDLL:
    global _loaded  # noqa: PLW0603
    if _loaded is None:
        _loaded = _load_library()
    return _loaded


_loaded: ctypes.CDLL | None = None


def _load_library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    except OSError as error:
        raise SeccompError(
            errno.ENOENT,
            "libseccomp.so.2 is missing: install the package libseccomp2 (Debian, Ubuntu) "
            "or libseccomp (Fedora, Alpine, Arch)",
        ) from error
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_release.restype = None
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_arch_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
    library.seccomp_arch_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    library.seccomp_syscall_resolve_name.argtypes = [ctypes.c_char_p]
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    ]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


def _set(library: ctypes.CDLL, context: int, attribute: int, value: int) -> None:
    _check(library.seccomp_attr_set(context, attribute, value), f"seccomp_attr_set {attribute}")


def _check(result: int, what: str, *, allowed: tuple[int, ...] = ()) -> None:
    if result < 0 and -result not in allowed:
        raise SeccompError(-result, f"{what}: {os.strerror(-result)}")


def _action(name: str, code: int | None) -> int:
    try:
        value = ACTIONS[name]
    except KeyError as error:
        raise SeccompError(errno.EINVAL, f"seccomp action {name} is not supported") from error
    if name not in _WITH_ERRNO:
        return value
    return value | ((errno.EPERM if code is None else code) & 0xFFFF)


def _token(library: ctypes.CDLL, name: str) -> int:
    word = name.removeprefix("SCMP_ARCH_").lower()
    token: int = library.seccomp_arch_resolve_name(word.encode())
    return token  # 0: an architecture that this libseccomp does not know


def _add_architecture(library: ctypes.CDLL, context: int, name: str) -> None:
    if token := _token(library, name):
        result = library.seccomp_arch_add(context, token)
        _check(result, f"seccomp_arch_add {name}", allowed=(errno.EEXIST,))


def _add_rule(library: ctypes.CDLL, context: int, rule: Rule, default: int) -> None:
    action = _action(rule["action"], rule.get("errnoRet"))
    if action == default:
        return  # libseccomp refuses a rule that says nothing
    conditions = _conditions(rule.get("args") or ())
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            continue
        for condition in conditions:
            array = (_Comparison * len(condition))(*condition)
            result = library.seccomp_rule_add_array(context, action, number, len(condition), array)
            # EDOM: a pseudo call that this architecture has not. EEXIST: said before.
            _check(result, f"seccomp rule {name}", allowed=(errno.EEXIST, errno.EDOM))


def _conditions(args: Any) -> list[list[_Comparison]]:
    """What must all be true, as alternatives: two comparisons of one argument mean either."""
    found = [_comparison(arg) for arg in args]
    if len({comparison.arg for comparison in found}) < len(found):
        return [[comparison] for comparison in found]
    return [found]


def _comparison(arg: dict[str, Any]) -> _Comparison:
    try:
        operator = COMPARISONS[arg["op"]]
    except KeyError as error:
        raise SeccompError(errno.EINVAL, f"seccomp operator {arg['op']} is unknown") from error
    return _Comparison(arg["index"], operator, arg["value"], arg.get("valueTwo") or 0)


def _export(library: ctypes.CDLL, context: int) -> bytes:
    memory = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        _check(library.seccomp_export_bpf(context, memory), "seccomp_export_bpf")
        return os.pread(memory, os.fstat(memory).st_size, 0)
    finally:
        os.close(memory)


# --- our own instructions -------------------------------------------------------------------------

_LOAD_NUMBER, _LOAD_ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_LOAD, _RETURN = 0x20, 0x06
_JUMP_EQUAL, _JUMP_GREATER, _JUMP_AT_LEAST = 0x15, 0x25, 0x35


def _stub(library: ctypes.CDLL, profile: dict[str, Any]) -> bytes:
    """For each architecture: numbers that libseccomp cannot name, then ENOSYS above the highest."""
    if profile["defaultAction"] not in _REFUSING:
        return b""
    blocks = b""
    native = _NATIVE.get(os.uname().machine, "")
    for name in dict.fromkeys([native, *(profile.get("architectures") or ())]):
        if audit := _AUDIT_ARCHITECTURES.get(name):
            blocks += _architecture_block(library, profile, name, audit)
    return blocks


def _architecture_block(
    library: ctypes.CDLL, profile: dict[str, Any], name: str, audit: int
) -> bytes:
    token = _token(library, name)
    named, unnamed = _numbers(library, profile, token)
    last = max([*named, *unnamed], default=0)
    if not token or not last:
        return b""
    body = []
    for number, action in sorted(unnamed.items()):
        body += [_jump(_JUMP_EQUAL, number, 0, 1), _statement(_RETURN, action)]
    body += [
        _jump(_JUMP_GREATER, last, 0, 1),
        _statement(_RETURN, ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS),
    ]
    # Below all that is decided here, and in x32 (a bit in x86_64's number), on to the filter.
    lowest = min(unnamed, default=last + 1)
    body.insert(0, _jump(_JUMP_AT_LEAST, lowest, 0, len(body)))
    if name == "SCMP_ARCH_X86_64":
        body.insert(0, _jump(_JUMP_AT_LEAST, _X32_BIT, len(body), 0))
    head = [
        _statement(_LOAD, _LOAD_ARCHITECTURE),
        _jump(_JUMP_EQUAL, audit, 0, len(body) + 1),
        _statement(_LOAD, _LOAD_NUMBER),
    ]
    return b"".join(head + body)


def _numbers(
    library: ctypes.CDLL, profile: dict[str, Any], token: int
) -> tuple[set[int], dict[int, int]]:
    """The profile's numbers on an architecture; and those that libseccomp lacks, with action."""
    named: set[int] = set()
    unnamed: dict[int, int] = {}
    for rule in profile.get("syscalls") or ():
        for name in rule["names"]:
            number = library.seccomp_syscall_resolve_name_arch(token, name.encode())
            if number >= 0:
                named.add(number)
            elif number == _UNKNOWN and name in _NUMBERS and not rule.get("args"):
                unnamed[_NUMBERS[name]] = _action(rule["action"], rule.get("errnoRet"))
    return named, unnamed


def _statement(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


# --- loading --------------------------------------------------------------------------------------

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_INSTRUCTION_SIZE = 8

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):  # struct sock_fprog
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def load_filter(program: bytes) -> None:
    """Put this thread under the filter, for good.

    Needs no_new_privs, or CAP_SYS_ADMIN in the own user namespace. Raises SeccompError.
    """
    code = ctypes.create_string_buffer(program, len(program))
    described = _Program(len(program) // _INSTRUCTION_SIZE, ctypes.addressof(code))
    if _libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(described), 0, 0) != 0:
        number = ctypes.get_errno()
        raise SeccompError(number, f"load the seccomp filter: {os.strerror(number)}")
