"""A zygote with one defence taken away: what shows that a test's attack is an attack.

`main` runs in the place of tiffin.runtime.zygote's in the fresh interpreter that the daemon's side
starts, so nothing but the standard library's core and tiffin itself can be imported here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tiffin.kernel import mounts, syscalls
from tiffin.runtime import (
    building,
    init,
    launch,
    messages,
    program,
    rootfs,
    shimbirth,
    streams,
    targets,
    users,
    zygote,
)
from tiffin.runtime.mountwords import Options

if TYPE_CHECKING:
    from tiffin.runtime.init import ExecBirth

LEAKED = 99  # the number of the host's directory that a weakened zygote leaves open
LEAKED_PATH = "/etc"


def dumpable() -> None:
    """Nobody is kept from looking at a first process that is not the user's program yet."""
    true_prctl = syscalls.prctl

    def prctl(option: int, argument: int = 0, argument_2: int = 0) -> int:
        if option == syscalls.PR_SET_DUMPABLE:
            argument = 1
        return true_prctl(option, argument, argument_2)

    syscalls.prctl = prctl
    become_root = init.become_root

    def dumpable_root() -> None:
        become_root()
        prctl(syscalls.PR_SET_DUMPABLE, 1)

    init.become_root = dumpable_root


def descriptors() -> None:
    """A directory of the host stays open, and nobody closes it but the last line of defence."""
    os.dup2(os.open(LEAKED_PATH, os.O_RDONLY | os.O_DIRECTORY), LEAKED)
    syscalls.close_all_but = lambda kept, first=3: None


def descriptors_through_exec() -> None:
    """And not even that."""
    descriptors()
    syscalls.close_range = lambda first, last, flags=0: None


def working_directory() -> None:
    """The directory that was entered is believed to be the container's."""
    descriptors()

    def enter(path: str) -> None:
        os.chdir(path)

    program._enter_working_dir = enter


def letters() -> None:
    """Mount targets are found by their letters: links are followed as the host would."""

    def open_target(
        root: int, path: str, *, directory: bool, resolve: int = 0, mode: int = 0o755
    ) -> int:
        os.fchdir(root)
        below = f".{path}"
        if directory:
            os.makedirs(below, mode, exist_ok=True)
        elif not os.path.exists(below):
            os.close(os.open(below, os.O_CREAT | os.O_WRONLY))
        return os.open(below, os.O_PATH | os.O_CLOEXEC)

    targets.open_target = open_target


def procfs_targets() -> None:
    """What a link in an image leads a mount to is not looked at."""
    building._check_target = lambda root, target, path, *, directory: None


def null_device() -> None:
    """Whatever is called /dev/null is taken for it."""

    def null(root: building.Root) -> int:
        return mounts.openat2(root.fd, "/dev/null", os.O_PATH, resolve=targets.IN_ROOT)

    building._null = null


def ordinary() -> None:
    """Links are followed on the way to /proc, /sys, /dev and the console, as to any target."""
    building._ORDINARY = frozenset()


def databases() -> None:
    """The image's passwd is opened and read like any file."""

    def read_database(path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    users.read_database = read_database


def groups() -> None:
    """The primary group is no supplementary one."""
    resolve = users.resolve

    def weak(spec: str, added: list[str], passwd: bytes, group: bytes) -> users.Identity:
        found = resolve(spec, added, passwd, group)
        found.groups = [number for number in found.groups if number != found.gid]
        return found

    users.resolve = weak


def id_range() -> None:
    """Numbers are believed, as large as they are."""
    users._in_range = lambda number: number & 0xFFFFFFFF


def inheritable() -> None:
    """Capabilities are inheritable, as they were once."""
    capset = syscalls.capset
    syscalls.capset = lambda effective, permitted, _none: capset(effective, permitted, permitted)


def below_read_only() -> None:
    """Read-only is the topmost mount alone."""
    take = Options._take

    def weak(self: Options, word: str) -> None:
        take(self, "ro" if word == "rro" else word)

    Options._take = weak


def peers() -> None:
    """Whoever connects to a shim is root."""
    messages.peer_uid = lambda connection: 0


def keyring() -> None:
    """The session keyring stays the one that the engine was started with."""
    shimbirth.own_keyring = lambda: None


def kinds() -> None:
    """An exec is left out of its container's network."""
    further = launch.further_process

    def weak(birth: ExecBirth, target: int, kinds: int, joins: list[int], *rest: Any) -> int:
        return further(birth, target, kinds & ~syscalls.CLONE_NEWNET, joins, *rest)

    launch.further_process = weak


def cgroups() -> None:
    """Nobody goes into the container's cgroups."""
    init.join_cgroups = lambda files: None


def bounds() -> None:
    """What clients have not taken is kept for them, however much it is."""
    streams.MAX_BEHIND = 1 << 40


def redirects() -> None:
    """Overlays are mounted as this kernel likes to."""
    rootfs._OVERLAY_OPTIONS = ()


def limits() -> None:
    """rlimits are written and forgotten."""
    launch.set_limits = lambda pid, process, own_score: None


WEAKNESSES: dict[str, Callable[[], None]] = {
    name: act
    for name, act in dict(globals()).items()
    if callable(act) and getattr(act, "__module__", "") == __name__
}


def main(names: str, descriptor: int) -> None:
    for name in names.split(","):
        WEAKNESSES[name]()
    zygote.main(descriptor)
