"""PURE allocation of id ranges: each container's users are 65,536 host ids of its own.

Ranges lie where systemd puts containers' (0x80000 to 0x6FFFFFFF), aligned, clear of what
/etc/subuid and /etc/subgid give to people. A container's ids of 65,536 and above (`--user 100000`,
the owner of a bind source) are mapped one by one, to host ids that belong to the same range, above
0x70000000: the kernel takes 340 extents in a map.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiffin.core.container import HostConfig, IdRange
from tiffin.errors import EngineFailure, InvalidArgument

SIZE = 65536
FIRST = 0x80000
LAST = 0x6FFFFFFF
MAX_ID = 0xFFFFFFFE  # (uid_t)-1 means "no change" to the kernel

_SLOTS = (LAST + 1 - FIRST) // SIZE
_EXTRA_FIRST = 0x70000000
_EXTRA_SIZE = 8192  # all ranges' extra ids end below 0x7FFE0000, where systemd's foreign ids begin
_MAX_EXTRA = 339  # the kernel's UID_GID_MAP_MAX_EXTENTS, less the range itself


def has_hosts_ids(host: HostConfig) -> bool:
    """Whether a container asks for what one with ids of its own cannot have."""
    shared = (host.network_mode, host.pid_mode, host.ipc_mode, host.userns_mode)
    return host.privileged or "host" in shared


class RangePool:
    """The ranges: the lowest free one is given, however many are in use.

    `subordinate`: the text of both files. A range may be held several times over.
    """

    def __init__(self, subordinate: str = "") -> None:
        people = parse_subordinate(subordinate)
        self._people = {slot for start, size in people for slot in _slots(start, size)}
        self._people |= {slot for start, size in people for slot in _extra_slots(start, size)}
        self._holders: dict[int, int] = {}  # by slot, how many
        self._lowest = 0  # no slot below is free

    def take(self) -> IdRange:
        """Raises EngineFailure when all are in use."""
        for slot in range(self._lowest, _SLOTS):
            if slot not in self._holders and slot not in self._people:
                self._lowest = slot + 1
                self._holders[slot] = 1
                return IdRange(FIRST + slot * SIZE, SIZE)
        raise EngineFailure("no id range is left for a container's user namespace")

    def hold(self, held: IdRange) -> None:
        for slot in _slots(held.start, held.size):
            self._holders[slot] = self._holders.get(slot, 0) + 1

    def give_back(self, held: IdRange) -> None:
        for slot in _slots(held.start, held.size):
            self._holders[slot] -= 1
            if not self._holders[slot]:
                del self._holders[slot]
                self._lowest = min(self._lowest, slot)


def slot_of(id_range: IdRange) -> int:
    """Its number among all ranges."""
    return (id_range.start - FIRST) // SIZE


def parse_subordinate(text: str) -> list[tuple[int, int]]:
    """(start, count) of each `name:start:count`. Lines that are none are passed over."""
    found = []
    for line in text.splitlines():
        fields = line.partition("#")[0].strip().split(":")
        if len(fields) == 3 and all(_is_number(field) for field in fields[1:]):
            found.append((int(fields[1]), int(fields[2])))
    return found


def extents(id_range: IdRange, ids: Iterable[int]) -> tuple[tuple[int, int, int], ...]:
    """(container id, host id, size) of a namespace's map: the range, and one for each id above.

    Depends on the set of ids, not on their order. Raises InvalidArgument for an id that cannot be,
    and where there are more than the kernel takes.
    """
    above = sorted({number for number in ids if number >= id_range.size})
    if above and above[-1] > MAX_ID:
        raise InvalidArgument(f"invalid id {above[-1]}: the largest is {MAX_ID}")
    if len(above) > _MAX_EXTRA:
        raise InvalidArgument(f"{len(above)} ids of {id_range.size} and above: too many to map")
    first = _EXTRA_FIRST + (id_range.start - FIRST) // SIZE * _EXTRA_SIZE
    whole = (0, id_range.start, id_range.size)
    return (whole, *((number, first + n, 1) for n, number in enumerate(above)))


def host_id(map_: Iterable[tuple[int, int, int]], number: int) -> int | None:
    """The host id of a container's; None where the map has none."""
    for inside, outside, size in map_:
        if inside <= number < inside + size:
            return outside + number - inside
    return None


def _slots(start: int, size: int) -> range:
    """The slots that a stretch of ids touches."""
    return _touched(start, size, FIRST, SIZE)


def _extra_slots(start: int, size: int) -> range:
    return _touched(start, size, _EXTRA_FIRST, _EXTRA_SIZE)


def _touched(start: int, size: int, base: int, unit: int) -> range:
    end = start + size
    if size <= 0 or end <= base:
        return range(0)
    first = max(0, (start - base) // unit)
    return range(min(first, _SLOTS), min((end - 1 - base) // unit + 1, _SLOTS))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
