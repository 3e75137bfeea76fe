"""GET /containers/{id}/stats: what a container uses, once or again and again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin.api.messages import JSON, Answer, Request, Stream, json_response
from tiffin.api.router import Route
from tiffin.api.versions import Version
from tiffin.core.timestamps import rfc3339
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine
    from tiffin.engine.statistics import Reading, Usage

_NO_CPU: dict[str, Any] = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_BLOCK_KINDS = (
    "io_service_bytes_recursive",
    "io_serviced_recursive",
    "io_queue_recursive",
    "io_service_time_recursive",
    "io_wait_time_recursive",
    "io_merged_recursive",
    "io_time_recursive",
    "sectors_recursive",
)


class StatisticsRoutes:
    def __init__(self, engine: Engine) -> None:
        self._containers = engine.containers

    def routes(self) -> list[Route]:
        return [Route("GET", "/containers/{id*}/stats", self.stats, dies_with_client=True)]

    async def stats(self, request: Request) -> Answer:
        streaming = request.query.boolean("stream", default=True)
        one_shot = request.query.boolean("one-shot") and not request.version.before("1.41")
        if streaming and one_shot:
            raise InvalidArgument("cannot have stream=true and one-shot=true")
        reference, gauges = request.parameters["id"], self._containers.gauges
        if streaming:
            return Stream(_lines(gauges.follow(reference), request.version), JSON)
        reading = await gauges.once(reference, compared=not one_shot)
        return json_response(reading_json(reading, request.version))


async def _lines(readings: AsyncIterator[Reading], version: Version) -> AsyncIterator[bytes]:
    async for reading in readings:
        yield msgspec.json.encode(reading_json(reading, version)) + b"\n"


def reading_json(reading: Reading, version: Version) -> dict[str, Any]:
    container, now, before = reading
    value: dict[str, Any] = {
        "name": "/" + container.name,
        "id": container.id,
        "read": rfc3339(now.time_ns if now else 0),
        "preread": rfc3339(before.time_ns if before else 0),
        "num_procs": 0,
        "pids_stats": {},
        "blkio_stats": dict.fromkeys(_BLOCK_KINDS),
        "storage_stats": {},
        "cpu_stats": _cpu(now) if now else _NO_CPU,
        "precpu_stats": _cpu(before) if before else _NO_CPU,
        "memory_stats": {},
    }
    if not version.before("1.52"):
        value["os_type"] = "linux"
    if now is not None:
        value["memory_stats"] = _memory(now)
        value["pids_stats"] = _pids(now)
        value["blkio_stats"]["io_service_bytes_recursive"] = [
            {"major": part.major, "minor": part.minor, "op": part.verb, "value": part.size}
            for part in now.transfers
        ] or None
        if now.cgroup_version == 1:  # Docker's own way
            value["blkio_stats"] = {kind: of or [] for kind, of in value["blkio_stats"].items()}
        if now.networks:
            value["networks"] = now.networks
        if now.pressure:  # beyond Docker
            value["pressure_stats"] = now.pressure
    return value


def _cpu(usage: Usage) -> dict[str, Any]:
    cpu = usage.group.cpu
    used: dict[str, Any] = {
        "total_usage": cpu.total_ns,
        "usage_in_kernelmode": cpu.system_ns,
        "usage_in_usermode": cpu.user_ns,
    }
    if cpu.per_cpu_ns:
        used["percpu_usage"] = list(cpu.per_cpu_ns)
    return {
        "cpu_usage": used,
        "system_cpu_usage": usage.system_ns,
        "online_cpus": usage.cpus,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_ns,
        },
    }


def _memory(usage: Usage) -> dict[str, Any]:
    memory = usage.group.memory
    value: dict[str, Any] = {
        "usage": memory.usage,
        "stats": memory.details,
        "limit": memory.limit or usage.host_memory_bytes,
    }
    if usage.cgroup_version == 1:
        value |= {"max_usage": memory.max_usage, "failcnt": memory.failures}
    return value


def _pids(usage: Usage) -> dict[str, int]:
    pids = usage.group.pids
    return {"current": pids.current, **({"limit": pids.limit} if pids.limit else {})}
