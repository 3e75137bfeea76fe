"""Tables, sizes and ages look as in Docker's CLI."""

from __future__ import annotations

import pytest

from tiffin.cli.tables import align, fit, table
from tiffin.cli.wording import age, binary_size, ellipsis, go_quote, human_size


def test_columns_are_as_wide_as_their_widest_cell_and_three_apart() -> None:
    rows = [("ID", "A LONG TITLE", "LAST"), ("abc", "x", "y")]

    assert table(rows) == "ID        A LONG TITLE   LAST\nabc       x              y"


def test_text_with_tabs_is_aligned_in_blocks() -> None:
    text = "Client:\n Version:\t1\n API:\t2\nplain\n a\tb\tc"

    assert align(text, 10, 1) == "Client:\n Version: 1\n API:     2\nplain\n a        b         c"


@pytest.mark.parametrize(
    ("size", "precision", "shown"),
    [
        (0, 3, "0B"),
        (999, 3, "999B"),
        (1982072, 3, "1.98MB"),
        (1982072, 4, "1.982MB"),
        (10**12, 3, "1TB"),
    ],
)
def test_sizes_are_decimal(size: int, precision: int, shown: str) -> None:
    assert human_size(size, precision) == shown


def test_memory_is_binary() -> None:
    assert binary_size(24 * 2**30) == "24GiB"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "Less than a second"),
        (1.9, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_ages_are_words(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_quoting_escapes_what_is_not_printable() -> None:
    assert go_quote('a"\\\n\x01é\u200b') == '"a\\"\\\\\\n\\x01é\\u200b"'


def test_a_long_text_ends_in_an_ellipsis() -> None:
    assert (ellipsis("abcdef", 6), ellipsis("abcdefg", 6)) == ("abcdef", "abcde…")


ROWS = [
    ["ID", "COMMAND", "STATUS", "NAMES"],
    ["4f1d4f1d4f1d", "a long command line that goes on", "Up 2 hours", "a-name-of-some-length-too"],
    ["0a1b0a1b0a1b", "sh", "Exited (0) 3 seconds ago", "db"],
]


@pytest.mark.parametrize("width", [200, 100, 80, 70])
def test_a_table_fits_the_terminal(width: int) -> None:
    lines = table(fit(ROWS, width)).split("\n")
    assert all(len(line) <= width for line in lines)
    assert [line[:12] for line in lines[1:]] == ["4f1d4f1d4f1d", "0a1b0a1b0a1b"]


def test_a_table_that_fits_is_left_alone() -> None:
    assert fit(ROWS, 200) == ROWS


def test_the_widest_cells_pay_first() -> None:
    _, first, _ = fit(ROWS, 100)
    assert first == ["4f1d4f1d4f1d", "a long command line that goes…", *ROWS[1][2:]]


def test_ids_and_titles_are_never_cut() -> None:
    cut = fit(ROWS, 10)
    assert [row[0] for row in cut] == [row[0] for row in ROWS]
    assert cut[0] == ROWS[0]
