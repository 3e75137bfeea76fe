from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core import idrange
from tiffin.core.container import IdRange
from tiffin.core.idrange import RangePool
from tiffin.errors import EngineFailure, InvalidArgument

SLOTS = (idrange.LAST + 1 - idrange.FIRST) // idrange.SIZE


def test_the_first_range_is_systemds_first_for_containers() -> None:
    assert RangePool().take() == IdRange(0x80000, 65536)


def test_a_taken_range_is_passed_over_until_nobody_holds_it() -> None:
    pool = RangePool()
    first = pool.take()
    pool.hold(IdRange(0xA0000))
    pool.hold(first)

    assert [pool.take().start, pool.take().start] == [0x90000, 0xB0000]
    pool.give_back(first)
    assert pool.take().start == 0xC0000
    pool.give_back(first)
    assert pool.take() == first


def test_what_people_own_is_left_to_them() -> None:
    text = "# comment\nalice:524288:65536\nbob:655360:1\nodd line\n1000:589824:10\n"

    assert RangePool(text).take().start == 0xB0000


def test_a_range_whose_extra_ids_are_someones_is_passed_over() -> None:
    assert RangePool(f"alice:{0x70000000}:1\n").take().start == 0x90000


def test_no_range_left_is_an_error() -> None:
    pool = RangePool()
    everything = IdRange(idrange.FIRST, idrange.LAST + 1 - idrange.FIRST)
    pool.hold(everything)

    with pytest.raises(EngineFailure, match="no id range is left"):
        pool.take()
    pool.give_back(everything)
    assert pool.take().start == idrange.FIRST


def test_ids_below_65536_need_no_extent_of_their_own() -> None:
    assert idrange.extents(IdRange(0x80000), (0, 65535)) == ((0, 0x80000, 65536),)


def test_ids_above_get_host_ids_of_the_ranges_own() -> None:
    first = idrange.extents(IdRange(0x80000), (100000, 70000, 70000))
    second = idrange.extents(IdRange(0x90000), (100000,))

    assert first[1:] == ((70000, 0x70000000, 1), (100000, 0x70000001, 1))
    assert second[1:] == ((100000, 0x70002000, 1),)


@pytest.mark.parametrize("number", [2**32 - 1, 2**40])
def test_an_id_that_cannot_be_is_refused(number: int) -> None:
    with pytest.raises(InvalidArgument):
        idrange.extents(IdRange(0x80000), (number,))


def test_more_ids_than_the_kernel_maps_are_refused() -> None:
    with pytest.raises(InvalidArgument):
        idrange.extents(IdRange(0x80000), range(65536, 65536 + 340))


def test_an_id_is_found_in_a_map() -> None:
    extents = idrange.extents(IdRange(0x80000), (100000,))

    assert idrange.host_id(extents, 5) == 0x80005
    assert idrange.host_id(extents, 100000) == 0x70000000
    assert idrange.host_id(extents, 99999) is None


@given(
    taken=st.lists(st.integers(0, SLOTS - 1), max_size=20),
    people=st.lists(st.tuples(st.integers(0, 2**31), st.integers(1, 2**20)), max_size=5),
)
def test_a_range_is_aligned_inside_and_overlaps_nothing(
    taken: list[int], people: list[tuple[int, int]]
) -> None:
    held = [IdRange(idrange.FIRST + slot * idrange.SIZE) for slot in taken]
    pool = RangePool("".join(f"u:{first}:{count}\n" for first, count in people))
    for one in held:
        pool.hold(one)

    found = pool.take()

    assert found.start % idrange.SIZE == 0
    assert idrange.FIRST <= found.start <= idrange.LAST + 1 - idrange.SIZE
    others = [(one.start, one.size) for one in held] + people
    extra = idrange.extents(found, (2**31,))[1][1]
    assert not any(first < found.start + 65536 and found.start < first + n for first, n in others)
    assert not any(first <= extra < first + count for first, count in people)
