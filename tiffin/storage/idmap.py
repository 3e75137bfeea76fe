"""Owners as a container has them and as the host sees them through its mounts.

A container with a user namespace has its files mounted with their owners shifted. Who writes there
from outside writes shifted owners, and who reads takes the shift back. File capabilities carry the
id of the root that they are for, and are shifted with it.
"""

from __future__ import annotations

import struct

NOBODY = 65534
_REVISION_2, _REVISION_3, _REVISION_MASK = 0x02000000, 0x03000000, 0xFF000000
_ROOT_AT = 20  # of struct vfs_ns_cap_data: magic, two pairs of sets, the root's id
CAPABILITY = b"security.capability"

Extent = tuple[int, int, int]  # container id, host id, size


class IdMap:
    """Of one namespace; users and groups alike."""

    __slots__ = ("_extents",)

    def __init__(self, extents: list[Extent]):
        self._extents = extents

    @classmethod
    def parse(cls, text: str) -> IdMap | None:
        """Of /proc/<pid>/uid_map; None where nothing is shifted."""
        rows = [line.split() for line in text.splitlines()]
        extents = [(int(first), int(second), int(size)) for first, second, size in rows]
        return None if all(inside == outside for inside, outside, _ in extents) else cls(extents)

    def __str__(self) -> str:
        return "\n".join(" ".join(map(str, extent)) for extent in self._extents)

    def outward(self, number: int) -> int:
        """The host's id; that of the container's root for an id that the container has not."""
        for inside, outside, size in self._extents:
            if inside <= number < inside + size:
                return outside + number - inside
        return self.outward(0) if number else 0

    def inward(self, number: int) -> int:
        for inside, outside, size in self._extents:
            if outside <= number < outside + size:
                return inside + number - outside
        return NOBODY

    def xattrs_outward(self, xattrs: dict[bytes, bytes]) -> dict[bytes, bytes]:
        value = xattrs.get(CAPABILITY)
        if value is None or len(value) < 4:
            return xattrs
        (magic,) = struct.unpack_from("<I", value)
        if magic & _REVISION_MASK == _REVISION_2:
            value = struct.pack("<I", magic & ~_REVISION_MASK | _REVISION_3) + value[4:]
            value += struct.pack("<I", self.outward(0))
        return {**xattrs, CAPABILITY: value}

    def xattrs_inward(self, xattrs: dict[bytes, bytes]) -> dict[bytes, bytes]:
        value = xattrs.get(CAPABILITY)
        if value is None or len(value) < _ROOT_AT + 4:
            return xattrs
        magic, root = struct.unpack_from("<I", value)[0], struct.unpack_from("<I", value, _ROOT_AT)
        if magic & _REVISION_MASK == _REVISION_3 and self.inward(root[0]) == 0:
            plain = struct.pack("<I", magic & ~_REVISION_MASK | _REVISION_2) + value[4:_ROOT_AT]
            return {**xattrs, CAPABILITY: plain}
        return xattrs
