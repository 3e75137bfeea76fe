import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core.timestamps import NEVER, parse_time, rfc3339, rfc3339_fixed
from tiffin.errors import InvalidArgument

SECOND = 1_000_000_000


def test_never_is_gos_zero_time() -> None:
    assert rfc3339(0) == NEVER


def test_a_fraction_has_no_trailing_zeros_unless_it_is_fixed() -> None:
    assert rfc3339(1_700_000_000 * SECOND) == "2023-11-14T22:13:20Z"
    assert rfc3339(1_700_000_000 * SECOND + 120_000_000) == "2023-11-14T22:13:20.12Z"
    assert rfc3339_fixed(1_700_000_000 * SECOND) == "2023-11-14T22:13:20.000000000Z"


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("", 0),
        ("0", 0),
        ("1700000000", 1_700_000_000 * SECOND),
        ("1700000000.5", 1_700_000_000 * SECOND + SECOND // 2),
        ("1700000000.000000001", 1_700_000_000 * SECOND + 1),
        ("2023-11-14T22:13:20Z", 1_700_000_000 * SECOND),
        ("2023-11-14T23:13:20.25+01:00", 1_700_000_000 * SECOND + SECOND // 4),
        ("2023-11-14", 1_699_920_000 * SECOND),
        ("2023-11-14T22:13", 1_699_999_980 * SECOND),
        ("10m", 1000 * SECOND - 600 * SECOND),
        ("1h30m", 1000 * SECOND - 5400 * SECOND),
        ("1.5s", 1000 * SECOND - SECOND * 3 // 2),
        ("1700000000000", 2**63 - 1),
        ("9" * 18 + ".5", 2**63 - 1),
    ],
)
def test_a_time_is_read_in_dockers_spellings(text: str, time_ns: int) -> None:
    assert parse_time(text, now_ns=1000 * SECOND) == time_ns


@pytest.mark.parametrize(
    "text", ["noon", "2023-13-01", "2023-11-14T25:00:00Z", "10 minutes", "1e5", "9" * 400 + "h"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_time(text)


@given(st.integers(min_value=1, max_value=4_000_000_000 * SECOND))
def test_every_time_survives_the_wire(time_ns: int) -> None:
    assert parse_time(rfc3339(time_ns)) == time_ns


@given(st.text())
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert isinstance(parse_time(text), int)
