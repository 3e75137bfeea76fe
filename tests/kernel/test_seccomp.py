"""Filters on the real kernel: what a filtered child is told when it calls."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
from collections.abc import Callable

import pytest

from tiffin.kernel import seccomp
from tiffin.runtime import capabilities, seccomp_profile

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers are x86_64's"),
]

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
ALLOW_ALL = {"defaultAction": "SCMP_ACT_ALLOW"}


@pytest.fixture(scope="module")
def default() -> bytes:
    chosen = seccomp_profile.choose(
        "", frozenset(capabilities.DEFAULT), "x86_64", (6, 1), privileged=False
    )
    assert chosen is not None
    return seccomp.compile_small(chosen.filter)


def answer(program: bytes, *call: int) -> int:
    """errno of a system call made under the filter; 0 is success."""

    def make() -> int:
        ctypes.set_errno(0)
        return (
            0 if LIBC.syscall(*(ctypes.c_long(word) for word in call)) >= 0 else ctypes.get_errno()
        )

    return under(program, make)


def under(program: bytes, action: Callable[[], int]) -> int:
    pid = os.fork()
    if pid == 0:
        LIBC.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        seccomp.load_filter(program)
        os._exit(action())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize(
    ("name", "call", "expected"),
    [
        ("getpid", (39,), 0),
        ("clone3", (435, 0, 0), errno.ENOSYS),
        ("unshare of users", (272, CLONE_NEWUSER), errno.EPERM),
        ("keyctl", (250, 0, 0, 0, 0, 0), errno.EPERM),
        ("io_uring_setup", (425, 0, 0), errno.EPERM),
        ("mount_setattr", (442, 0, 0, 0, 0, 0), errno.EPERM),
        ("personality", (135, 0), 0),
        ("personality of no randomness", (135, 0x0040000), errno.EPERM),
        ("one newer than the profile", (1000, 0), errno.ENOSYS),
        ("x32's getpid", (0x40000000 + 39,), errno.ENOSYS),
    ],
)
def test_the_default_profile_answers(
    default: bytes, name: str, call: tuple[int, ...], expected: int
) -> None:
    assert answer(default, *call) == expected


def test_names_newer_than_libseccomp_are_decided_by_number(default: bytes) -> None:
    statmount = 457

    assert answer(default, statmount, 0, 0, 0, 0) != errno.EPERM


@pytest.mark.parametrize(
    ("family", "allowed"), [(socket.AF_UNIX, True), (socket.AF_VSOCK, False), (38, False)]
)
def test_sockets_to_the_host_and_to_the_kernels_ciphers_are_refused(
    default: bytes, family: int, allowed: bool
) -> None:
    def make() -> int:
        try:
            socket.socket(family, socket.SOCK_STREAM).close()
        except PermissionError:
            return 1
        except OSError:
            return 0
        return 0

    assert under(default, make) == (0 if allowed else 1)


def test_a_rule_with_two_comparisons_of_one_argument_means_either() -> None:
    program = seccomp.compile_filter(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {
                    "names": ["personality"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": 99,
                    "args": [
                        {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
                        {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"},
                    ],
                }
            ],
        }
    )

    assert [answer(program, 135, value) for value in (0, 1, 2)] == [0, 99, 99]


def test_a_program_of_many_tests_with_jumps_far_and_near_is_one_for_the_kernel() -> None:
    rules = seccomp_profile.choose("", frozenset(), "x86_64", (6, 1), privileged=False)
    assert rules is not None
    names = sorted({name for rule in rules.filter["syscalls"] for name in rule["names"]})
    word = 0x1234_5678_9ABC
    asked = {"index": 5, "value": word, "op": "SCMP_CMP_EQ"}
    codes = {name: 1 + number % 100 for number, name in enumerate(names)}
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": code, "args": [asked]}
            for name, code in codes.items()
        ],
    }
    program = seccomp.compile_small(profile)

    assert len(program) < len(seccomp.compile_filter(profile))

    for name, number in {"read": 0, "getpid": 39, "openat": 257, "statx": 332}.items():
        assert answer(program, number, 0, 0, 0, 0, 0, word) == codes[name]
    assert answer(program, 39, 0, 0, 0, 0, 0, 0) == 0


def test_a_kill_action_kills() -> None:
    program = seccomp.compile_filter(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_KILL_PROCESS"}],
        }
    )

    assert answer(program, 39) == -31  # SIGSYS


@pytest.mark.parametrize(
    "profile",
    [
        {"defaultAction": "SCMP_ACT_NOTIFY"},
        {"defaultAction": "nonsense"},
        {
            **ALLOW_ALL,
            "syscalls": [
                {
                    "names": ["read"],
                    "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 0, "value": 0, "op": "nonsense"}],
                }
            ],
        },
        {
            **ALLOW_ALL,
            "syscalls": [
                {
                    "names": ["read"],
                    "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 9, "value": 0, "op": "SCMP_CMP_EQ"}],
                }
            ],
        },
    ],
)
def test_what_cannot_be_compiled_is_an_error(profile: dict[str, object]) -> None:
    with pytest.raises(seccomp.SeccompError):
        seccomp.compile_filter(profile)


def test_a_program_that_is_none_does_not_load() -> None:
    def load() -> int:
        try:
            seccomp.load_filter(b"\0" * 8)
        except seccomp.SeccompError:
            return 0
        return 1

    assert under(seccomp.compile_filter(ALLOW_ALL), load) == 0


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(seccomp, "_loaded", None)
    monkeypatch.setattr(seccomp.ctypes, "CDLL", refuse)


@pytest.mark.usefixtures("no_library")
def test_a_missing_libseccomp_names_the_package() -> None:
    with pytest.raises(seccomp.SeccompError, match="libseccomp2"):
        seccomp.compile_filter(ALLOW_ALL)
