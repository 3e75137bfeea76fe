"""`stats`: what containers use, again and again."""

from __future__ import annotations

import time

from tiffin.cli.failures import CommandFailed, DaemonAnswered
from tiffin.cli.listing import FORMAT_HELP, list_text
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import STDOUT, is_terminal, write
from tiffin.cli.targets import container_path
from tiffin.cli.wording import binary_size, human_size, short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from tiffin.cli.client import Client, Query
    from tiffin.cli.rows import Field, Record

_NOTHING = "--"
_LEAST_SECONDS = 0.5  # between readings: of what does not run, the daemon answers at once
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")


def cpu_percent(now: dict[str, Any]) -> float:
    """The share of one CPU between the two readings in the answer."""
    cpu, before = now.get("cpu_stats") or {}, now.get("precpu_stats") or {}
    used = (cpu.get("cpu_usage") or {}).get("total_usage", 0) - (before.get("cpu_usage") or {}).get(
        "total_usage", 0
    )
    passed = cpu.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    count = cpu.get("online_cpus") or len((cpu.get("cpu_usage") or {}).get("percpu_usage") or [1])
    return float(used / passed * count * 100) if used > 0 and passed > 0 else 0.0


def memory_used(now: dict[str, Any]) -> int:
    """Without the page cache that would go first, as Docker counts it on both cgroup versions."""
    memory = now.get("memory_stats") or {}
    details, usage = memory.get("stats") or {}, memory.get("usage", 0)
    for key in ("total_inactive_file", "inactive_file"):
        if key in details and details[key] < usage:
            return int(usage - details[key])
    return int(usage)


def summarise(name: str, now: dict[str, Any]) -> Record:
    limit = (now.get("memory_stats") or {}).get("limit", 0)
    used = memory_used(now)
    networks = (now.get("networks") or {}).values()
    blocks = (now.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    moved = {
        op: sum(each["value"] for each in blocks if each["op"].lower() == op)
        for op in ("read", "write")
    }
    received = human_size(sum(each["rx_bytes"] for each in networks), 3)
    sent = human_size(sum(each["tx_bytes"] for each in networks), 3)
    return {
        "Container": name,
        "ID": now.get("id", ""),
        "Name": now.get("name", "").removeprefix("/") or _NOTHING,
        "CPUPerc": f"{cpu_percent(now):.2f}%",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}",
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "NetIO": f"{received} / {sent}",
        "BlockIO": f"{human_size(moved['read'], 3)} / {human_size(moved['write'], 3)}",
        "PIDs": str((now.get("pids_stats") or {}).get("current", 0)),
    }


def _gone(record: Record) -> Record:
    """What is shown of a container of which nothing can be read any more."""
    kept = {name: record[name] for name in ("Container", "ID", "Name")}
    return {**dict.fromkeys(_COLUMNS, _NOTHING), "MemUsage": f"{_NOTHING} / {_NOTHING}", **kept}


def _plain(key: str) -> Any:
    return lambda record, _: record[key]


FIELDS: dict[str, Field] = {
    "Container": ("CONTAINER", _plain("Container")),
    "ID": (
        "CONTAINER ID",
        lambda record, short: short_id(record["ID"]) if short else record["ID"],
    ),
    "Name": ("NAME", _plain("Name")),
    "CPUPerc": ("CPU %", _plain("CPUPerc")),
    "MemUsage": ("MEM USAGE / LIMIT", _plain("MemUsage")),
    "MemPerc": ("MEM %", _plain("MemPerc")),
    "NetIO": ("NET I/O", _plain("NetIO")),
    "BlockIO": ("BLOCK I/O", _plain("BlockIO")),
    "PIDs": ("PIDS", _plain("PIDs")),
}


def _read(client: Client, names: list[str]) -> list[Record | DaemonAnswered]:
    """A reading of each, taken at the same time: the daemon needs a second for one."""
    asked = [client.ask("GET", container_path(name, "stats"), {"stream": "0"}) for name in names]
    found: list[Record | DaemonAnswered] = []
    for name, connection in zip(names, asked, strict=True):
        try:
            found.append(summarise(name, client.answer(connection, "GET").document()))
        except DaemonAnswered as refusal:
            found.append(refusal)
        connection.close()
    return found


def _of_named(client: Client, names: list[str]) -> Iterator[list[Record]]:
    """Readings without end of those that were asked for by name, which must be there at first."""
    first = _read(client, names)
    if refusals := [each.message for each in first if isinstance(each, DaemonAnswered)]:
        raise CommandFailed("\n".join(refusals))
    records = [each for each in first if not isinstance(each, DaemonAnswered)]
    while True:
        yield records
        records = [
            _gone(before) if isinstance(now, DaemonAnswered) else now
            for before, now in zip(records, _read(client, names), strict=True)
        ]


def _of_listed(client: Client, query: Query) -> Iterator[list[Record]]:
    """Readings without end of those that there are at the time."""
    while True:
        names = [short_id(each["Id"]) for each in client.get("/containers/json", query)]
        yield [each for each in _read(client, names) if not isinstance(each, DaemonAnswered)]


def stats(client: Client, arguments: Arguments) -> None:
    form = arguments.text("format")
    short = not arguments.flag("no-trunc")
    again = not arguments.flag("no-stream")
    client.negotiate()
    if arguments.words:
        readings = _of_named(client, list(dict.fromkeys(arguments.words)))
    else:
        readings = _of_listed(client, {"all": "1"} if arguments.flag("all") else None)
    began = time.monotonic()
    for records in readings:
        kind = "container.statsContext"
        text = list_text(records, FIELDS, _COLUMNS, form, short=short, kind=kind)
        if again and is_terminal(STDOUT) and form != "json":
            # Written over what is there, and cleared behind: a screen that is cleared first blinks.
            text = b"\x1b[H" + text.replace(b"\n", b"\x1b[K\n") + b"\x1b[J"
        write(STDOUT, text)
        if not again:
            return
        time.sleep(max(0.0, began + _LEAST_SECONDS - time.monotonic()))
        began = time.monotonic()


STATS = Command(
    stats,
    " [OPTIONS] [CONTAINER...]",
    "Display a live stream of container(s) resource usage statistics",
    (
        ("all", "a", "bool", "Show all containers (default shows just running)"),
        ("format", "", "string", FORMAT_HELP),
        ("no-stream", "", "bool", "Disable streaming stats and only pull the first result"),
        ("no-trunc", "", "bool", "Do not truncate output"),
    ),
)
