"""What a container may ask of the kernel: Docker's list, and the doors beside it."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tiffin.errors import InvalidArgument
from tiffin.kernel import seccomp
from tiffin.runtime import capabilities, seccomp_profile

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers are x86_64's"),
]

CHECKOUT = Path(__file__).resolve().parents[2]
REFERENCE = CHECKOUT.parent / "shared" / "reference" / "seccomp-default.json"
OURS = CHECKOUT / "tiffin" / "runtime" / "seccomp.json"
LIBC = ctypes.CDLL(None, use_errno=True)
NEWUSER, NEWNS = 0x10000000, 0x00020000
X32 = 0x40000000


def compiled(text: str = "", *caps: str) -> bytes:
    chosen = seccomp_profile.choose(
        text, frozenset((*capabilities.DEFAULT, *caps)), "x86_64", (6, 1), privileged=False
    )
    assert chosen is not None
    return seccomp.compile_small(chosen.filter)


DEFAULT = compiled()
NOTHING = seccomp.compile_filter({"defaultAction": "SCMP_ACT_ALLOW"})


def answer(program: bytes, call: Callable[[], int]) -> int:
    """errno of what `call` asks under the filter, in a process of its own; minus a signal."""
    pid = os.fork()
    if pid == 0:
        LIBC.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        seccomp.load_filter(program)
        ctypes.set_errno(0)
        os._exit(0 if call() >= 0 else ctypes.get_errno())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def calling(*numbers: int) -> Callable[[], int]:
    return lambda: int(LIBC.syscall(*(ctypes.c_long(number) for number in numbers)))


def calling_as_32_bit(number: int, first: int = 0) -> Callable[[], int]:
    """By int 0x80, which asks for the numbers of a 32-bit program."""

    def call() -> int:
        # push rbx; mov eax, edi; mov ebx, esi; xor ecx, ecx; xor edx, edx; int 0x80; pop rbx; ret
        code = bytes.fromhex("53 89f8 89f3 31c9 31d2 cd80 5b c3")
        memory = mmap.mmap(-1, mmap.PAGESIZE, prot=7)
        memory.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        result = int(
            ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(address)(number, first)
        )
        ctypes.set_errno(-result if result < 0 else 0)
        return -1 if result < 0 else result

    return call


# Arguments that do no harm where the call is let through.
DOORS = [
    ("a new user namespace by unshare", calling(272, NEWUSER), errno.EPERM),
    ("a new user namespace by clone", calling(56, NEWUSER | 17, 0, 0, 0, 0), errno.EPERM),
    ("clone3, whose flags no filter sees", calling(435, 0, 0), errno.ENOSYS),
    ("setns", calling(308, -1, 0), errno.EPERM),
    ("mount", calling(165, 0, 0, 0, 0, 0), errno.EPERM),
    ("the new mount API", calling(430, 0, 0), errno.EPERM),
    ("keyrings of the host", calling(250, 0, -3, 0, 0, 0), errno.EPERM),
    ("bpf", calling(321, 99, 0, 0), errno.EPERM),
    ("userfaultfd", calling(323, -1), errno.EPERM),
    ("perf_event_open", calling(298, 0, 0, 0, -1, 0), errno.EPERM),
    ("io_uring", calling(425, 0, 0), errno.EPERM),
    ("files by handle (shocker)", calling(304, -1, 0, 0), errno.EPERM),
    ("kernel modules", calling(313, -1, 0, 0), errno.EPERM),
    ("a new kernel", calling(320, -1, -1, 0, 0, 0xFFFF), errno.EPERM),
    ("sockets to the hypervisor (AF_VSOCK)", calling(41, 40, 1, 0), errno.EPERM),
    ("the kernel's ciphers (AF_ALG)", calling(41, 38, 5, 0), errno.EPERM),
    ("personality without randomness", calling(135, 0x0040000), errno.EPERM),
    ("32 bit: keyrings", calling_as_32_bit(288), errno.EPERM),
    ("32 bit: mount", calling_as_32_bit(21), errno.EPERM),
    ("32 bit: a new user namespace", calling_as_32_bit(310, NEWUSER), errno.EPERM),
    ("32 bit: io_uring", calling_as_32_bit(425), errno.EPERM),
    ("32 bit: clone3", calling_as_32_bit(435), errno.ENOSYS),
]
# Some are closed to root too: by lockdown, by sysctls, by a container that the tests run in.
LOCKED_BY_MACHINES = {"perf_event_open", "kernel modules", "a new kernel", "bpf", "userfaultfd"}


@pytest.mark.threat("system-calls")
@pytest.mark.parametrize(("door", "call", "refusal"), DOORS, ids=[door for door, _, _ in DOORS])
def test_a_door_to_the_kernel_is_closed(door: str, call: Callable[[], int], refusal: int) -> None:
    """The less a container may ask, the fewer of the kernel's bugs are its own: keyrings, io_uring,
    bpf, user namespaces, open_by_handle_at ("shocker", 2014), AF_ALG (CVE-2026-31431).

    Defence: Docker's allow-list, compiled for 64 and 32 bit; ENOSYS for clone3, so that a libc
    falls back to clone, whose flags can be seen.
    Seen to fail: under a filter that allows all, each call is answered otherwise.
    """
    if "32 bit" in door and answer(NOTHING, calling_as_32_bit(20)) != 0:
        assert answer(DEFAULT, call) != 0  # a kernel without 32-bit programs has no such door
        return
    assert answer(DEFAULT, call) == refusal
    assert answer(NOTHING, call) != refusal or door in LOCKED_BY_MACHINES


@pytest.mark.threat("system-calls")
def test_x32_is_no_second_door() -> None:
    """x32 has the 64-bit calls again under numbers of its own, which a filter that looks at
    numbers alone lets through.

    Defence: its numbers are no architecture of the filter: ENOSYS, whatever the call.
    Seen to fail: with Docker's architectures (x32 among them) the filter lets getpid through: the
    kernel is asked, and answers ENOSYS only where it has no x32.
    """
    with open(OURS, encoding="utf-8") as file:
        dockers = compiled(file.read())

    assert answer(DEFAULT, calling(X32 + 39)) == errno.ENOSYS
    assert dockers != DEFAULT


@pytest.mark.threat("system-calls")
def test_ordinary_programs_notice_nothing() -> None:
    """A filter that refuses what libcs need is switched off by its users.

    Defence: the list is Docker's; a number that it does not know is ENOSYS, not EPERM, and a libc
    goes back to the older call.
    Seen to fail: with an empty list getpid is refused.
    """
    nothing_allowed = seccomp.compile_filter({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["exit_group"], "action": "SCMP_ACT_ALLOW"}
    ]})  # fmt: skip

    assert answer(DEFAULT, calling(39)) == 0
    assert answer(DEFAULT, calling_as_32_bit(20)) in (0, errno.ENOSYS)
    assert answer(DEFAULT, calling(1 << 20)) == errno.ENOSYS
    assert answer(nothing_allowed, calling(39)) == errno.EPERM


def test_a_capability_opens_its_calls_and_no_other() -> None:
    with_admin = compiled("", "CAP_SYS_ADMIN")

    assert answer(with_admin, calling(272, NEWUSER)) != errno.EPERM
    assert answer(with_admin, calling(313, -1, 0, 0)) == errno.EPERM  # CAP_SYS_MODULE's


@pytest.mark.skipif(not REFERENCE.exists(), reason="Docker's profile is not here to compare with")
def test_the_default_profile_is_dockers() -> None:
    """What differs is said here: nothing in the data; x32, taken away when it is read."""
    ours, dockers = (json.loads(path.read_text(encoding="utf-8")) for path in (OURS, REFERENCE))

    assert ours == dockers
    used = seccomp_profile._default()
    dropped = {
        name
        for entry in seccomp_profile.parse(json.dumps(dockers)).arch_map
        for name in entry.sub_architectures
    } - {name for entry in used.arch_map for name in entry.sub_architectures}
    assert dropped == {"SCMP_ARCH_X32"}


# --- profiles of one's own ------------------------------------------------------------------------

PERSONALITY, GETPID = 135, 39


def custom(**fields: Any) -> bytes:
    return compiled(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", **fields}))


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("SCMP_ACT_ERRNO", errno.EPERM),
        ("SCMP_ACT_KILL", -31),
        ("SCMP_ACT_KILL_THREAD", -31),
        ("SCMP_ACT_KILL_PROCESS", -31),
        ("SCMP_ACT_TRAP", -31),
        ("SCMP_ACT_TRACE", errno.ENOSYS),  # nobody traces
        ("SCMP_ACT_LOG", 0),
        ("SCMP_ACT_ALLOW", 0),
    ],
)
def test_each_action_does_what_it_is_called(action: str, expected: int) -> None:
    program = custom(syscalls=[{"names": ["getpid"], "action": action}])

    assert answer(program, calling(GETPID)) == expected


@pytest.mark.parametrize("key", ["name", "names"])
def test_a_refusal_may_have_an_errno_of_its_own(key: str) -> None:
    name: Any = "getpid" if key == "name" else ["getpid"]
    program = custom(syscalls=[{key: name, "action": "SCMP_ACT_ERRNO", "errnoRet": 99}])

    assert answer(program, calling(GETPID)) == 99


def test_the_default_may_have_one_too() -> None:
    program = compiled(
        json.dumps(
            {
                "defaultAction": "SCMP_ACT_ERRNO",
                "defaultErrnoRet": 98,
                "syscalls": [{"names": ["exit_group"], "action": "SCMP_ACT_ALLOW"}],
            }
        )
    )

    assert answer(program, calling(GETPID)) == 98


@pytest.mark.parametrize(
    ("op", "value", "value_two", "refused"),
    [
        ("NE", 2, 0, {1, 3}),
        ("LT", 2, 0, {1}),
        ("LE", 2, 0, {1, 2}),
        ("EQ", 2, 0, {2}),
        ("GE", 2, 0, {2, 3}),
        ("GT", 2, 0, {3}),
        ("MASKED_EQ", 2, 2, {2, 3}),
    ],
)
def test_each_comparison_of_an_argument(
    op: str, value: int, value_two: int, refused: set[int]
) -> None:
    argument = {"index": 0, "value": value, "valueTwo": value_two, "op": f"SCMP_CMP_{op}"}
    rule = {"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}
    program = custom(syscalls=[{**rule, "args": [argument]}])

    found = {number for number in (1, 2, 3) if answer(program, calling(PERSONALITY, number)) == 99}
    assert found == refused


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_CHOWN"]}}, False),
        ({"includes": {"arches": ["amd64"]}}, True),
        ({"excludes": {"arches": ["amd64", "arm64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.2"}}, False),
    ],
)
def test_conditions_choose_the_rules(condition: dict[str, Any], applies: bool) -> None:
    rule = {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}

    assert (answer(custom(syscalls=[{**rule, **condition}]), calling(GETPID)) == 99) is applies


def test_an_architecture_that_is_not_named_does_not_exist() -> None:
    only_64 = custom(architectures=["SCMP_ARCH_X86_64"])
    both = custom(
        archMap=[{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]
    )

    assert answer(only_64, calling_as_32_bit(20)) == errno.ENOSYS
    assert answer(both, calling_as_32_bit(20)) == answer(NOTHING, calling_as_32_bit(20)) or (
        answer(both, calling_as_32_bit(20)) == 0
    )


@pytest.mark.parametrize(
    ("profile", "word"),
    [
        ({"defaultAction": "SCMP_ACT_NONSENSE"}, "SCMP_ACT_NONSENSE"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "SCMP_ACT_NOTIFY"),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NONSENSE"}],
            },
            "SCMP_ACT_NONSENSE",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {
                        "names": ["read"],
                        "action": "SCMP_ACT_ERRNO",
                        "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_NONSENSE"}],
                    }
                ],
            },
            "SCMP_CMP_NONSENSE",
        ),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {
                        "names": ["read"],
                        "action": "SCMP_ACT_ERRNO",
                        "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}],
                    }
                ],
            },
            "index 6",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["NONSENSE"]}, "NONSENSE"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}, "SCMP_ARCH_VAX"),
    ],
)
def test_a_profile_that_cannot_be_is_refused_by_name(profile: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidArgument, match=word):
        seccomp_profile.check(json.dumps(profile))
