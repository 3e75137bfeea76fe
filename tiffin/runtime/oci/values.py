"""Values of a config that no kernel takes: found before anything is made, and named."""

from __future__ import annotations

import os

from tiffin.kernel import traits
from tiffin.runtime.oci.shape import InvalidBundle
from tiffin.runtime.operations import Config
from tiffin.runtime.traits import cpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_GROUPS = 65536  # NGROUPS_MAX
MAX_ID = 2**32 - 2  # (uid_t)-1 means "no change"
_MAX_MAJOR, _MAX_MINOR = 2**12 - 1, 2**20 - 1
_ARCHITECTURES = frozenset(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64"
        " MIPSEL64N32 PARISC PARISC64 PPC PPC64 PPC64LE RISCV64 S390 S390X SH SHEB"
    ).split()
)


def judge_values(config: Config) -> None:
    """Raises InvalidBundle. The shape has been checked."""
    _judge_text(config, "")
    judge_user(config.get("process") or {})
    linux: Config = config.get("linux") or {}
    for key in ("uidMappings", "gidMappings"):
        _judge_map(linux.get(key) or [], f"linux.{key}")
    for number, mount in enumerate(config.get("mounts") or []):
        for key in ("uidMappings", "gidMappings"):
            _judge_map(mount.get(key) or [], f"mounts[{number}].{key}")
    for number, device in enumerate(linux.get("devices") or []):
        _judge_device(device, f"linux.devices[{number}]")
    for name in (linux.get("seccomp") or {}).get("architectures") or []:
        if name not in _ARCHITECTURES:
            raise InvalidBundle(f"linux.seccomp.architectures: {name} is unknown")


def judge_user(process: Config) -> None:
    _judge_text(process, "process")
    user: Config = process.get("user") or {}
    numbers = [("uid", user.get("uid")), ("gid", user.get("gid"))]
    numbers += [("additionalGids", number) for number in user.get("additionalGids") or []]
    for name, number in numbers:
        _judge_number(number or 0, MAX_ID, f"process.user.{name}")
    if len(numbers) - 2 > MAX_GROUPS:
        raise InvalidBundle(f"process.user.additionalGids: more than {MAX_GROUPS}")
    _judge_scheduling(process)
    affinity: Config = process.get("execCPUAffinity") or {}
    for which in ("initial", "final"):
        words = affinity.get(which)
        try:
            cpus(words or "0")
        except ValueError as error:
            where = f"process.execCPUAffinity.{which}"
            raise InvalidBundle(f"{where}: {words} is no list of CPUs") from error


def _judge_scheduling(process: Config) -> None:
    scheduler: Config = process.get("scheduler") or {}
    if scheduler:
        _judge_choice(scheduler.get("policy"), traits.POLICIES, "process.scheduler.policy")
        if not -20 <= (scheduler.get("nice") or 0) <= 19:
            raise InvalidBundle("process.scheduler.nice must be between -20 and 19")
        for key in ("runtime", "deadline", "period"):
            _judge_number(scheduler.get(key) or 0, 2**63 - 1, f"process.scheduler.{key}")
        _judge_number(scheduler.get("priority") or 0, 99, "process.scheduler.priority")
        for flag in scheduler.get("flags") or []:
            _judge_choice(flag, traits.SCHEDULER_FLAGS, "process.scheduler.flags")
    disk: Config = process.get("ioPriority") or {}
    if disk:
        _judge_choice(disk.get("class"), traits.IO_CLASSES, "process.ioPriority.class")
        _judge_number(disk.get("priority") or 0, 7, "process.ioPriority.priority")


def _judge_choice(word: str | None, choices: dict[str, int], where: str) -> None:
    if word not in choices:
        raise InvalidBundle(f"{where}: {word or 'nothing'} is none of {', '.join(choices)}")


def _judge_text(value: Any, where: str) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidBundle(f"{where} must not contain NUL")
        try:
            os.fsencode(value)
        except UnicodeEncodeError as error:
            raise InvalidBundle(f"{where} has half of a surrogate pair in it") from error
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _judge_text(item, f"{where}[{number}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            _judge_text(key, where or "a key")
            _judge_text(item, f"{where}.{key}" if where else key)


def _judge_number(number: int, largest: int, where: str) -> None:
    if not 0 <= number <= largest:
        raise InvalidBundle(f"{where} must be between 0 and {largest}, and is {number}")


def _judge_map(entries: list[Config], where: str) -> None:
    for side in ("containerID", "hostID"):
        taken: list[tuple[int, int]] = []
        for number, entry in enumerate(entries):
            first, size = entry.get(side) or 0, entry.get("size") or 0
            _judge_number(first, MAX_ID, f"{where}[{number}].{side}")
            if not 0 < size <= MAX_ID + 1 - first:
                raise InvalidBundle(f"{where}[{number}].size {size} cannot be")
            if any(first < end and start < first + size for start, end in taken):
                raise InvalidBundle(f"{where}[{number}] overlaps another entry's {side}")
            taken.append((first, first + size))


def _judge_device(device: Config, where: str) -> None:
    for key in ("uid", "gid"):
        _judge_number(device.get(key) or 0, MAX_ID, f"{where}.{key}")
    _judge_number(device.get("fileMode") or 0, 0o177777, f"{where}.fileMode")
    if device.get("type") != "p":  # a pipe has no numbers
        _judge_number(device.get("major") or 0, _MAX_MAJOR, f"{where}.major")
        _judge_number(device.get("minor") or 0, _MAX_MINOR, f"{where}.minor")
