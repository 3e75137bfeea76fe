"""What ps(1) prints, cut down to a container's processes."""

from __future__ import annotations

import pytest

from tiffin.core.container import IdRange
from tiffin.engine.psprogram import ask_ps, parse, with_own_owners
from tiffin.engine.top import Table
from tiffin.errors import InvalidArgument

_AUX = """USER         PID %CPU COMMAND
root           1  0.0 /sbin/init splash
root          42  0.1 sh -c sleep 5;  true
nobody       420  0.0 sleep
"""


def test_the_last_column_takes_the_rest_of_the_line() -> None:
    table = parse(_AUX, [42])

    assert table.titles == ["USER", "PID", "%CPU", "COMMAND"]
    assert table.rows == [["root", "42", "0.1", "sh -c sleep 5; true"]]


def test_threads_without_a_pid_go_with_their_process() -> None:
    output = "PID LWP CMD\n7 - a\n- 7 -\n8 - b\n- 8 -\n"

    assert parse(output, [8]).rows == [["8", "-", "b"], ["-", "8", "-"]]


@pytest.mark.parametrize("output", ["", "COMMAND\nsh\n"])
def test_output_without_pids_is_of_no_use(output: str) -> None:
    with pytest.raises(InvalidArgument, match="Couldn't find PID field in ps output"):
        parse(output, [1])


@pytest.mark.parametrize("arguments", ["-o time=PID", "-o pid,  time= PIDX"])
def test_another_column_cannot_be_called_pid(arguments: str) -> None:
    with pytest.raises(InvalidArgument, match="is not allowed"):
        ask_ps([1], arguments, None)


@pytest.mark.parametrize(
    ("titles", "row", "told"),
    [
        (["USER", "PID"], ["100000", "7"], ["root", "7"]),
        (["UID", "PID", "C", "STIME"], ["100000", "100000", "0", "10:00"], None),
        (["F", "UID", "PID"], ["4", "100001", "7"], ["4", "1", "7"]),
        (["GROUP", "EGID", "PID"], ["100000", "100033", "7"], ["root", "33", "7"]),
        (["USER", "PID"], ["99999", "7"], ["99999", "7"]),
        (["USER", "PID"], ["165536", "7"], ["165536", "7"]),
        (["USER", "PID", "CMD"], ["165535", "7", "100000"], ["65535", "7", "100000"]),
        (["USER", "PID"], ["-", "7"], ["-", "7"]),
    ],
)
def test_owners_are_those_that_the_container_knows(
    titles: list[str], row: list[str], told: list[str] | None
) -> None:
    found = with_own_owners(Table(titles, [row]), IdRange(100000)).rows

    assert found == [told or ["root", *row[1:]]]


def test_without_ids_of_its_own_owners_are_the_hosts() -> None:
    table = Table(["USER", "PID"], [["100000", "7"]])

    assert with_own_owners(table, None) == table
