"""Progress: lines on a pipe, moving bars on a terminal, errors as errors."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator
from typing import Any

import pytest

from tiffin.cli.failures import CommandFailed
from tiffin.cli.progress import show_progress

PULL: list[dict[str, Any]] = [
    {"status": "Pulling from library/busybox", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
    {"status": "Downloading", "progressDetail": {"current": 500, "total": 1000}, "id": "aaa"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
    {"status": "Status: Downloaded"},
]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ours, theirs = os.pipe()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_on_a_pipe_what_has_numbers_is_left_out(pipe: tuple[int, int]) -> None:
    show_progress(PULL, pipe[1])

    assert os.read(pipe[0], 4096).decode().split("\n") == [
        "latest: Pulling from library/busybox",
        "aaa: Pulling fs layer",
        "aaa: Pull complete",
        "Status: Downloaded",
        "",
    ]


def test_on_a_terminal_the_line_of_an_id_is_written_anew() -> None:
    ours, theirs = pty.openpty()
    show_progress(PULL, theirs)
    os.write(theirs, b"\0")
    text = ""
    while "\0" not in text:  # a terminal gives what it has so far
        text += os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)

    assert "\x1b[1A\x1b[2K\raaa: Downloading " in text
    assert "    500B/1kB\r\x1b[1B" in text


def test_build_output_comes_as_it_is(pipe: tuple[int, int]) -> None:
    show_progress([{"stream": "Step 1/2"}, {"stream": " : FROM x\n"}], pipe[1])

    assert os.read(pipe[0], 4096) == b"Step 1/2 : FROM x\n"


def test_results_go_to_who_asked(pipe: tuple[int, int]) -> None:
    results: list[Any] = []

    show_progress([{"aux": {"ID": "sha256:1"}}], pipe[1], results.append)

    assert results == [{"ID": "sha256:1"}]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"error": "bad"}, 1),
        ({"errorDetail": {"message": "bad"}, "error": "bad"}, 1),
        ({"errorDetail": {"message": "bad", "code": 7}}, 7),
    ],
)
def test_an_error_ends_it_with_its_code(message: dict[str, Any], code: int) -> None:
    with pytest.raises(CommandFailed) as caught:
        show_progress([message], -1)

    assert (caught.value.message, caught.value.code) == ("bad", code)
