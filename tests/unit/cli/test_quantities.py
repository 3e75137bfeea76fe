"""Sizes, CPUs, durations and limits are read as Docker's CLI reads them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli.quantities import parse_cpus, parse_duration, parse_size, parse_ulimit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1024", 1024),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("1.5g", 3 << 29),
        ("2kb", 2048),
        ("2KiB", 2048),
        ("3 GiB", 3 << 30),
        ("7b", 7),
    ],
)
def test_a_size_is_in_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", "invalid size: 'x'"),
        ("1x", "invalid suffix: 'x'"),
        ("1kx", "invalid suffix: 'kx'"),
        ("1bb", "invalid suffix: 'bb'"),
        ("-1", "invalid size: '-1'"),
        (" k", 'strconv.ParseFloat: parsing "": invalid syntax'),
    ],
)
def test_what_is_no_size_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_size(text)

    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("text", "billionths"),
    [
        ("1", 10**9),
        ("1.5", 1_500_000_000),
        (".25", 250_000_000),
        ("0.000000001", 1),
        ("-2", -2 * 10**9),
    ],
)
def test_cpus_are_exact(text: str, billionths: int) -> None:
    assert parse_cpus(text) == billionths


@pytest.mark.parametrize("text", ["x", "", "1.0000000001", "1..2"])
def test_what_is_no_number_of_cpus_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_cpus(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1s", 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5h", 5400 * 10**9),
        ("500ms", 5 * 10**8),
        ("-5s", -5 * 10**9),
        ("3us", 3000),
    ],
)
def test_a_duration_is_in_nanoseconds(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("5", 'time: missing unit in duration "5"'),
        ("", 'time: invalid duration ""'),
        ("s", 'time: invalid duration "s"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
    ],
)
def test_what_is_no_duration_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(text)

    assert str(caught.value) == problem


@given(st.text(max_size=12))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    for read in (parse_size, parse_cpus, parse_duration, parse_ulimit):
        with contextlib.suppress(ValueError):
            read(text)


def test_a_limit_without_a_hard_one_is_both() -> None:
    assert parse_ulimit("nofile=5") == {"Name": "nofile", "Hard": 5, "Soft": 5}
