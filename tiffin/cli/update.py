"""`update`: other limits and another restart policy for containers that exist."""

from __future__ import annotations

from tiffin.cli.create_body import parse_restart
from tiffin.cli.failures import CommandFailed, DaemonAnswered, WrongOption
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import say
from tiffin.cli.portwords import parse_ports
from tiffin.cli.quantities import parse_cpus, parse_size, parse_swap
from tiffin.cli.targets import container_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.client import Client


def update_body(arguments: Arguments) -> dict[str, Any]:
    number, text = arguments.number, arguments.text
    body: dict[str, Any] = {
        "CpuShares": number("cpu-shares"),
        "Memory": number("memory"),
        "NanoCpus": number("cpus"),
        "CgroupParent": "",
        "BlkioWeight": number("blkio-weight"),
        "BlkioWeightDevice": None,
        "BlkioDeviceReadBps": None,
        "BlkioDeviceWriteBps": None,
        "BlkioDeviceReadIOps": None,
        "BlkioDeviceWriteIOps": None,
        "CpuPeriod": number("cpu-period"),
        "CpuQuota": number("cpu-quota"),
        "CpuRealtimePeriod": number("cpu-rt-period"),
        "CpuRealtimeRuntime": number("cpu-rt-runtime"),
        "CpusetCpus": text("cpuset-cpus"),
        "CpusetMems": text("cpuset-mems"),
        "Devices": None,
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "MemoryReservation": number("memory-reservation"),
        "MemorySwap": number("memory-swap"),
        "MemorySwappiness": None,
        "OomKillDisable": None,
        "PidsLimit": number("pids-limit") or None,
        "Ulimits": None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }
    if arguments.given("kernel-memory"):
        body["KernelMemory"] = number("kernel-memory")
    try:
        body["RestartPolicy"] = parse_restart(text("restart"))
    except WrongOption as error:
        raise CommandFailed(str(error)) from error
    return body


def publishing_body(arguments: Arguments) -> dict[str, Any]:
    """Beyond Docker: ports of a container that exists. Nothing where nothing was asked."""
    body: dict[str, Any] = {}
    try:
        if published := arguments.many("publish"):
            body["PublishAdd"] = parse_ports(published)[1]
        if removed := arguments.many("publish-rm"):
            body["PublishRemove"] = [parse_removal(text) for text in removed]
    except WrongOption as error:
        raise CommandFailed(str(error)) from error
    return body


def parse_removal(text: str) -> dict[str, str]:
    """`8080`, `8080:80`, `127.0.0.1:8080:80/udp`, `:80`: a published port that there is."""
    ports, slash, protocol = text.partition("/")
    *address, host_port, container_port = ports.split(":") if ":" in ports else (ports, "")
    inside = container_port + (slash + protocol if slash else "")
    numbers = [each for each in (host_port, container_port) if each]
    if len(address) > 1 or not numbers or not all(each.isdecimal() for each in numbers):
        raise WrongOption(f"invalid published port: {text}")
    return {"HostIp": "".join(address), "HostPort": host_port, "ContainerPort": inside}


def update(client: Client, arguments: Arguments) -> None:
    if not arguments.values:
        raise CommandFailed("you must provide one or more flags when using this command")
    body = update_body(arguments) | publishing_body(arguments)
    warnings: list[str] = []
    errors: list[str] = []
    for name in arguments.words:
        try:
            answer = client.post(container_path(name, "update"), None, body)
        except DaemonAnswered as error:
            errors.append(error.message)
        else:
            say(name)
            warnings += (answer or {}).get("Warnings") or []
    if warnings:
        say("\n".join(warnings))
    if errors:
        raise CommandFailed("\n".join(errors))


UPDATE = Command(
    update,
    " [OPTIONS] CONTAINER [CONTAINER...]",
    "Update configuration of one or more containers",
    (
        (
            "blkio-weight",
            "",
            "uint16",
            "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
        ),
        ("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
        ("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        ("cpu-rt-period", "", "int", "Limit the CPU real-time period in microseconds"),
        ("cpu-rt-runtime", "", "int", "Limit the CPU real-time runtime in microseconds"),
        ("cpu-shares", "c", "int", "CPU shares (relative weight)"),
        ("cpus", "", "decimal", "Number of CPUs"),
        ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        ("kernel-memory", "", "bytes", ""),
        ("memory", "m", "bytes", "Memory limit"),
        ("memory-reservation", "", "bytes", "Memory soft limit"),
        (
            "memory-swap",
            "",
            "bytes",
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        ),
        ("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
        ("publish", "p", "list", "Publish a container's port(s) to the host, also while it runs"),
        ("publish-rm", "", "list", "Take published port(s) away: [IP:]HOST_PORT[:PORT[/PROTOCOL]]"),
        ("restart", "", "string", "Restart policy to apply when a container exits"),
    ),
    least=1,
    checks={
        "cpus": parse_cpus,
        "kernel-memory": parse_size,
        "memory": parse_size,
        "memory-reservation": parse_size,
        "memory-swap": parse_swap,
    },
)
