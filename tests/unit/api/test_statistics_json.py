"""A reading has the shape that the API's description gives it, on both versions of cgroups."""

from __future__ import annotations

import pytest

from tests.unit.api.descriptions import check_answer
from tests.unit.api.kitchen import NOW, exited, running
from tiffin.api.statistics import reading_json
from tiffin.api.versions import parse_version
from tiffin.engine.statistics import Reading, Transfer, Usage
from tiffin.kernel.cgroupstatistics import (
    CPUStatistics,
    MemoryStatistics,
    PidsStatistics,
    Statistics,
)


def usage(version: int) -> Usage:
    group = Statistics(
        MemoryStatistics(5 << 20, 6 << 20, 0, 1, {"inactive_file": 1 << 20}),
        CPUStatistics(900, 500, 400, (600, 300) if version == 1 else (), 3, 2, 1),
        PidsStatistics(4, 4096),
    )
    device = {"rx_bytes": 1, "tx_bytes": 2}
    moved = (Transfer(8, 0, "read", 4096),)
    return Usage(NOW, version, group, 10_000, 2, 1 << 30, moved, {"eth0": device}, {})


@pytest.mark.parametrize("version", ["1.50", "1.55"])
@pytest.mark.parametrize("cgroup_version", [1, 2])
def test_a_reading_has_the_described_shape(version: str, cgroup_version: int) -> None:
    reading = Reading(running(), usage(cgroup_version), usage(cgroup_version))
    value = reading_json(reading, parse_version(version))
    check_answer(version, "GET", "/containers/{id}/stats", 200, value)
    assert value["memory_stats"]["limit"] == 1 << 30
    nothing = [] if cgroup_version == 1 else None
    assert value["blkio_stats"]["sectors_recursive"] == nothing
    assert ("max_usage" in value["memory_stats"]) is (cgroup_version == 1)
    assert value["precpu_stats"]["system_cpu_usage"] == 10_000


def test_pressure_is_told_where_there_is_any() -> None:
    version = parse_version("1.55")
    pressure = {"cpu": {"some": {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 7}}}
    pressed = usage(2)._replace(pressure=pressure)
    assert reading_json(Reading(running(), pressed, None), version)["pressure_stats"] == pressure
    assert "pressure_stats" not in reading_json(Reading(running(), usage(1), None), version)


def test_a_stopped_container_has_a_name_and_no_numbers() -> None:
    value = reading_json(Reading(exited(), None, None), parse_version("1.55"))
    assert (value["name"], value["memory_stats"], value["read"][:4]) == ("/job", {}, "0001")
    assert value["cpu_stats"]["cpu_usage"]["total_usage"] == 0
