from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from tiffin.storage.database import SnapshotRow
from tiffin.storage.recovery import lost_snapshots, parents_first


def committed(number: int, chain: str, parent: str | None, *, settled: bool = True) -> SnapshotRow:
    return SnapshotRow(number, chain, f"diff-{chain}", parent, 0, 0, settled)


def active(number: int, parent: str | None) -> SnapshotRow:
    return SnapshotRow(number, None, None, parent, 0, 0, False)


ROWS = [
    active(2, "b"),
    committed(3, "b", "a"),
    committed(9, "a", None),
    committed(5, "c", "a", settled=False),
    committed(4, "d", "c"),
    active(1, None),
]
ALL = {row.id for row in ROWS}


@given(st.randoms())
def test_parents_come_first_whatever_the_numbers(shuffler: random.Random) -> None:
    rows = list(ROWS)
    shuffler.shuffle(rows)
    seen: set[str | None] = {None}
    ordered = parents_first(rows)
    for row in ordered:
        assert row.parent in seen
        seen.add(row.chain_id)
    assert sorted(row.id for row in ordered) == sorted(ALL)


def test_nothing_is_lost_while_the_machine_stays_up() -> None:
    assert lost_snapshots(parents_first(ROWS), ALL, rebooted=False) == set()


def test_a_reboot_takes_what_was_not_settled_and_what_stands_on_it() -> None:
    assert lost_snapshots(parents_first(ROWS), ALL, rebooted=True) == {5, 4}


def test_a_missing_directory_takes_what_stands_on_it() -> None:
    assert lost_snapshots(parents_first(ROWS), ALL - {3}, rebooted=False) == {3, 2}


def test_rows_on_a_parent_without_a_row_are_lost() -> None:
    rows = [committed(1, "y", "x"), active(2, "y"), active(3, None)]
    assert lost_snapshots(parents_first(rows), {1, 2, 3}, rebooted=False) == {1, 2}
