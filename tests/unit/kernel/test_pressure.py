"""What the kernel says of pressure, as numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiffin.kernel.cgroup import Cgroup, Hierarchy, Layout
from tiffin.kernel.pressure import parse_pressure, read_pressure

MEMORY = """some avg10=0.12 avg60=1.50 avg300=0.00 total=345
full avg10=0.00 avg60=0.00 avg300=100.00 total=18446744073709551615
"""


def test_both_lines_are_numbers() -> None:
    assert parse_pressure(MEMORY) == {
        "some": {"avg10": 0.12, "avg60": 1.5, "avg300": 0.0, "total": 345},
        "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 100.0, "total": 2**64 - 1},
    }


def test_a_total_is_an_integer() -> None:
    assert isinstance(parse_pressure(MEMORY)["some"]["total"], int)


@pytest.mark.parametrize("text", ["", "\n", "some\n", "some avg10=x\n", "some avg10\n"])
def test_what_says_nothing_is_nothing(text: str) -> None:
    assert parse_pressure(text.strip("\n")) == {}


def group_in(directory: Path, version: int) -> Cgroup:
    (directory / "web").mkdir()
    return Cgroup(
        Layout(version, (Hierarchy(str(directory), ("memory", "cpu")),), str(directory)), "/web"
    )


def test_only_the_resources_that_the_kernel_tells_of_are_there(tmp_path: Path) -> None:
    group = group_in(tmp_path, 2)
    assert read_pressure(group) == {}
    (tmp_path / "web" / "memory.pressure").write_text(MEMORY)
    assert list(read_pressure(group)) == ["memory"]


def test_v1_has_none(tmp_path: Path) -> None:
    group = group_in(tmp_path, 1)
    (tmp_path / "web" / "memory.pressure").write_text(MEMORY)
    assert read_pressure(group) == {}
