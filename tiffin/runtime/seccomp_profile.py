"""Which system calls a container may make: from a profile in Docker's form to one in OCI's.

A Docker profile has conditions (capabilities, architecture, kernel version); resolved for one
container they are gone. The default is moby's own (seccomp.json beside this file: data of the
public moby/profiles repository, Apache-2.0): an allow-list with ENOSYS for clone3, so that a libc
falls back to clone, whose flags a filter can see. PURE but for reading that file, once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container
from functools import lru_cache
from typing import Any

import msgspec

from tiffin.core.image import without_nulls
from tiffin.errors import InvalidArgument
from tiffin.kernel import seccomp

_FILE = os.path.join(os.path.dirname(__file__), "seccomp.json")

# uname's machine: the word for it in a profile's conditions, and libseccomp's token.
_ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "i686": ("x86", "SCMP_ARCH_X86"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "loongarch64": ("loongarch64", "SCMP_ARCH_LOONGARCH64"),
}


_ARCHITECTURE_NAMES = frozenset(
    "X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32"
    " PARISC PARISC64 PPC PPC64 PPC64LE RISCV64 S390 S390X SH SHEB".split()
)
_LAST_ARGUMENT = 5


class Argument(msgspec.Struct, frozen=True, rename="camel"):
    index: int
    value: int
    op: str
    value_two: int = 0


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    caps: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    min_kernel: str = ""


class Syscalls(msgspec.Struct, frozen=True, rename="camel"):
    action: str
    names: tuple[str, ...] = ()
    name: str = ""
    args: tuple[Argument, ...] = ()
    errno_ret: int | None = None
    includes: Condition = Condition()
    excludes: Condition = Condition()


class Architecture(msgspec.Struct, frozen=True, rename="camel"):
    architecture: str
    sub_architectures: tuple[str, ...] = ()


class Profile(msgspec.Struct, frozen=True, rename="camel"):
    default_action: str = ""
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    arch_map: tuple[Architecture, ...] = ()
    flags: tuple[str, ...] = ()
    syscalls: tuple[Syscalls, ...] = ()


class Filter(msgspec.Struct, frozen=True):
    """A resolved profile. `filter` is shared between callers: read it, never change it."""

    filter: dict[str, Any]  # OCI's linux.seccomp
    key: str  # the same for the same filter


@lru_cache(maxsize=64)
def choose(
    text: str,
    caps: frozenset[str],
    architecture: str,
    kernel: tuple[int, int],
    *,
    privileged: bool,
) -> Filter | None:
    """The filter that `--security-opt seccomp=<text>` asks for; None is unconfined.

    Raises InvalidArgument for text that is no profile.
    """
    if text == "unconfined" or (privileged and not text):
        return None
    profile = parse(text) if text else _default()
    resolved = resolve(profile, caps, architecture, kernel)
    if resolved is None:
        return None
    return Filter(resolved, hashlib.sha256(msgspec.json.encode(resolved)).hexdigest())


@lru_cache(maxsize=1)
def _default() -> Profile:
    """moby's, without x32: a second door to the same calls that no distribution's programs use."""
    with open(_FILE, encoding="utf-8") as file:
        profile = parse(file.read())
    arch_map = tuple(
        msgspec.structs.replace(
            entry,
            sub_architectures=tuple(
                name for name in entry.sub_architectures if name != "SCMP_ARCH_X32"
            ),
        )
        for entry in profile.arch_map
    )
    return msgspec.structs.replace(profile, arch_map=arch_map)


def parse(text: str) -> Profile:
    try:
        return msgspec.convert(without_nulls(msgspec.json.decode(text)), Profile)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from error


def check(text: str) -> None:
    """Raises InvalidArgument, in runc's words, for what no container could be started with."""
    profile = parse(text)
    asked = (profile.default_action,) if profile.default_action else ()
    for action in (*asked, *(rule.action for rule in profile.syscalls)):
        _known(action, seccomp.ACTIONS, "action")
    for argument in (arg for rule in profile.syscalls for arg in rule.args):
        _known(argument.op, seccomp.COMPARISONS, "operator")
        if not 0 <= argument.index <= _LAST_ARGUMENT:
            raise InvalidArgument(
                f"Decoding seccomp profile failed: a system call has no argument of "
                f"index {argument.index}"
            )
    mapped = (n for e in profile.arch_map for n in (e.architecture, *e.sub_architectures))
    for name in (*profile.architectures, *mapped):
        _known(name.removeprefix("SCMP_ARCH_"), _ARCHITECTURE_NAMES, "architecture", name)
    for name in profile.flags:
        _known(name, seccomp.FLAGS, "flag")
    for entry in profile.syscalls:
        _syscalls(entry)
        for version in (entry.includes.min_kernel, entry.excludes.min_kernel):
            if version:
                _version(version)


def _known(word: str, words: Container[str], what: str, shown: str = "") -> None:
    if word not in words:
        raise InvalidArgument(
            f"Decoding seccomp profile failed: string {shown or word} is not a valid {what} "
            "for seccomp"
        )


def resolve(
    profile: Profile, caps: frozenset[str], architecture: str, kernel: tuple[int, int]
) -> dict[str, Any] | None:
    """OCI's linux.seccomp for these capabilities; None if the profile says nothing."""
    if not profile.default_action and not profile.syscalls:
        return None
    if profile.architectures and profile.arch_map:
        raise InvalidArgument(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    word, token = _ARCHITECTURES.get(architecture, (architecture, ""))
    resolved: dict[str, Any] = {
        "defaultAction": profile.default_action,
        "architectures": _architectures(profile, token),
        "flags": list(profile.flags),
        "syscalls": [
            _syscalls(entry) for entry in profile.syscalls if _applies(entry, caps, word, kernel)
        ],
    }
    if profile.default_errno_ret is not None:
        resolved["defaultErrnoRet"] = profile.default_errno_ret
    return resolved


def _architectures(profile: Profile, token: str) -> list[str]:
    found = list(profile.architectures)
    for entry in profile.arch_map:
        if entry.architecture == token:
            found += [entry.architecture, *entry.sub_architectures]
            break
    return found


def _syscalls(entry: Syscalls) -> dict[str, Any]:
    if entry.name and entry.names:
        raise InvalidArgument(
            "both 'name' and 'names' are specified in the seccomp profile, "
            "use either 'name' or 'names'"
        )
    found: dict[str, Any] = {
        "names": [entry.name] if entry.name else list(entry.names),
        "action": entry.action,
    }
    if entry.errno_ret is not None:
        found["errnoRet"] = entry.errno_ret
    if entry.args:
        found["args"] = [
            {
                "index": argument.index,
                "value": argument.value,
                "valueTwo": argument.value_two,
                "op": argument.op,
            }
            for argument in entry.args
        ]
    return found


def _applies(entry: Syscalls, caps: frozenset[str], word: str, kernel: tuple[int, int]) -> bool:
    """Includes must all hold, of excludes none may."""
    no, yes = entry.excludes, entry.includes
    excluded = (
        word in no.arches
        or any(name in caps for name in no.caps)
        or (no.min_kernel and kernel >= _version(no.min_kernel))
    )
    included = (
        (not yes.arches or word in yes.arches)
        and all(name in caps for name in yes.caps)
        and (not yes.min_kernel or kernel >= _version(yes.min_kernel))
    )
    return bool(included and not excluded)


def _version(text: str) -> tuple[int, int]:
    parts = text.split(".")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise InvalidArgument(f'Decoding seccomp profile failed: invalid kernel version: "{text}"')
    return int(parts[0]), int(parts[1])
