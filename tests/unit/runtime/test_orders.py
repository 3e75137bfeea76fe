"""What a process that stands by is told to execute, and what it is not asked."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tiffin.runtime import messages, orders

FACTS = {
    "message": 0x7F00_0002_0000,
    "tail": 0x7F00_0001_0000,
    "scratch": [0x7F00_0000_1000, 0x7F00_0000_2000],
    "channel": 5,
    "joins": [6, 7],
    "uid": 0,
    "home": "/root",
    "databases": [[1, 2, 3, 4, 5, 6], []],
}


def process(**others: Any) -> dict[str, Any]:
    return {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], **others}


def test_a_plain_exec_is_a_list() -> None:
    listed = orders.listed(FACTS, process())
    assert listed is not None
    assert b"/bin/true\0" in listed
    assert b"HOME=/root\0" in listed


@pytest.mark.parametrize(
    "others",
    [
        {"args": []},
        {"args": ["a\0b"]},
        {"env": ["A=b\0c"]},
        {"cwd": "here"},
        {"cwd": "/a\0b"},
        {"args": ["true", "x" * messages.MAX_PACKET_BYTES]},
    ],
    ids=["no program", "zero byte", "in the environment", "no path", "in it", "too long"],
)
def test_what_somebody_has_to_complain_about_is_none(others: dict[str, Any]) -> None:
    assert orders.listed(FACTS, process(**others)) is None


def test_who_is_not_root_asks_for_its_pipes() -> None:
    of_root, of_somebody = (orders.listed({**FACTS, "uid": uid}, process()) for uid in (0, 7))
    assert of_root is not None
    assert of_somebody is not None
    asked = messages.encode({"chown": 7})
    assert asked not in of_root
    assert asked in of_somebody


def test_a_file_that_is_as_new_as_the_clock_is_coarse_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, absent = tmp_path / "passwd", tmp_path / "group"
    new.touch()
    monkeypatch.setattr(orders, "_DATABASES", (str(new), str(absent), str(new / "in a file")))
    monkeypatch.setattr(time, "time", lambda: new.stat().st_ctime + 0.01)
    assert orders.databases() == [None, [], None]
    monkeypatch.setattr(time, "time", lambda: new.stat().st_ctime + 1)
    states = orders.databases()
    assert states[0] is not None
    assert states[0][1] == new.stat().st_ino
    os.utime(new, (1, 1))
    assert orders.databases()[0] != states[0]
