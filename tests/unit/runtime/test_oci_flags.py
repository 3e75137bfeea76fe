"""A command line's flags, and what is printed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.runtime.oci.flags import Command, Flag, UsageError, parse
from tiffin.runtime.oci.main import COMMANDS
from tiffin.runtime.oci.output import pretty, table

COMMAND = Command(
    "try",
    "try [flags] NAME",
    "tries",
    [
        Flag("--bundle -b", "text", ""),
        Flag("--force -f", "switch", ""),
        Flag("--env -e", "list", ""),
        Flag("--count", "number", ""),
    ],
    (1, 2),
)


def test_flags_are_taken_in_all_their_forms_and_places() -> None:
    words = ["-b", "here", "name", "--force", "-e", "A=1", "--env=B=2", "-count=-3"]
    values, operands = parse(COMMAND, words)
    assert values == {"bundle": "here", "force": True, "env": ["A=1", "B=2"], "count": -3}
    assert operands == ["name"]


def test_two_dashes_end_the_flags() -> None:
    assert parse(COMMAND, ["--", "--force"]) == ({}, ["--force"])


def test_for_exec_the_first_operand_does() -> None:
    values, operands = parse(COMMANDS["exec"], ["-t", "box", "ls", "-l", "--tty"])
    assert (values, operands) == ({"tty": True}, ["box", "ls", "-l", "--tty"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "at least 1"),
        (["a", "b", "c"], "at most 2"),
        (["--nonsense", "a"], "not defined: --nonsense"),
        (["a", "-b"], "needs an argument: -b"),
        (["--count", "x", "a"], "not a number"),
        (["--force=perhaps", "a"], "invalid boolean"),
    ],
)
def test_what_is_wrong_is_named(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(COMMAND, words)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_words_are_flags_or_refused(words: list[str]) -> None:
    try:
        parse(COMMAND, words)
    except UsageError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_printed_is_the_same_document(value: object) -> None:
    assert json.loads(pretty(value)) == value


def test_a_tables_columns_are_as_wide_as_they_need() -> None:
    assert table([["ID", "PID"], ["longer", "1"]]) == "ID       PID\nlonger   1\n"
