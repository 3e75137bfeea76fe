"""Which rows of snapshots can be believed when a store is opened, after whatever has happened."""

from __future__ import annotations

from collections.abc import Iterable

from tiffin.storage.database import SnapshotRow


def parents_first(rows: Iterable[SnapshotRow]) -> list[SnapshotRow]:
    """Numbers say nothing of it: directories are made ahead."""
    waiting: dict[str | None, list[SnapshotRow]] = {}
    chains: set[str | None] = set()
    for row in rows:
        waiting.setdefault(row.parent, []).append(row)
        chains.add(row.chain_id)
    # None stands for the empty chain; a parent without a row of its own begins a stack too.
    parents = [None, *(parent for parent in waiting if parent is not None and parent not in chains)]
    ordered: list[SnapshotRow] = []
    while parents:
        found = waiting.pop(parents.pop(), [])
        ordered += found
        parents += [row.chain_id for row in found if row.chain_id is not None]
    return ordered


def lost_snapshots(rows: Iterable[SnapshotRow], present: set[int], *, rebooted: bool) -> set[int]:
    """Whose files a power loss may have taken, whose directory is gone, and what needs those.

    `rows` with parents first.
    """
    lost: set[int] = set()
    believed: set[str | None] = {None}
    for row in rows:
        unsettled = rebooted and row.chain_id is not None and not row.settled
        if unsettled or row.id not in present or row.parent not in believed:
            lost.add(row.id)
        elif row.chain_id is not None:
            believed.add(row.chain_id)
    return lost
