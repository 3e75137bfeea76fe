"""Which capabilities a container's processes may have: Docker's default, added to and dropped from.

Order follows Docker's: the default set first, then what was added, as it was added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tiffin.errors import InvalidArgument
from tiffin.kernel.syscalls import CAPABILITIES

DEFAULT = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

KNOWN = CAPABILITIES

NUMBERS = {name: number for number, name in enumerate(KNOWN)}

ALL = "ALL"


def names_in(mask: int) -> tuple[str, ...]:
    """The known capabilities in a bit mask (CapBnd of /proc/self/status)."""
    return tuple(name for number, name in enumerate(KNOWN) if mask >> number & 1)


def mask_of(names: Iterable[str]) -> int:
    """The bit mask of known names; what is not known has no bit."""
    return sum(1 << NUMBERS[name] for name in set(names) & NUMBERS.keys())


def normalise(names: Iterable[str], available: Sequence[str], option: str) -> tuple[str, ...]:
    """Names as the kernel spells them; "ALL" stays. Raises InvalidArgument with Docker's words."""
    normal = []
    for name in map(str.upper, names):
        if name == ALL:
            normal.append(name)
            continue
        full = name if name.startswith("CAP_") else f"CAP_{name}"
        if full not in NUMBERS:
            raise InvalidArgument(f'invalid {option}: unknown capability: "{full}"')
        if full not in available:
            raise InvalidArgument(
                f"invalid {option}: capability not supported by your kernel or not available "
                f'in the current environment: "{full}"'
            )
        normal.append(full)
    return tuple(normal)


def choose(
    add: Iterable[str], drop: Iterable[str], available: Sequence[str], *, privileged: bool
) -> tuple[str, ...]:
    """What a container gets. What the engine itself lacks is never in it."""
    if privileged:
        return tuple(available)
    added = normalise(add, available, "CapAdd")
    dropped = normalise(drop, available, "CapDrop")
    if ALL in added:
        chosen = [name for name in available if name not in dropped]
    elif ALL in dropped:
        chosen = list(added)
    else:
        chosen = [name for name in DEFAULT if name not in dropped and name in available]
        chosen += added
    return tuple(dict.fromkeys(name for name in chosen if name != ALL))
