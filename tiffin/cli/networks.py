"""`network create`, `ls`, `rm`, `connect`, `disconnect`."""

from __future__ import annotations

from tiffin.cli.endpointwords import UNKNOWN
from tiffin.cli.failures import CommandFailed, DaemonAnswered, EmptyName
from tiffin.cli.listing import (
    FORMAT_HELP,
    PLAIN,
    filters_query,
    labels_text,
    parse_filter,
    show_ids,
    show_list,
)
from tiffin.cli.optionchecks import check_label, check_link
from tiffin.cli.options import Arguments, Command, to_pair
from tiffin.cli.output import complain, say
from tiffin.cli.sorting import natural
from tiffin.cli.targets import path_of
from tiffin.cli.wording import short_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Interface, IPv6Interface
    from typing import Any

    from tiffin.cli.client import Client
    from tiffin.cli.rows import Field, Record


def identity(record: Record, short: bool) -> str:
    return short_id(record["Id"]) if short else str(record["Id"])


def _truth(key: str) -> Any:
    return lambda record, _: "true" if record.get(key) else "false"


def _created(record: Record, _: bool) -> str:
    """Go's time.Time.String(): the date and the clock apart, the zone twice."""
    text = str(record.get("Created", ""))
    clock = text.replace("T", " ")
    return f"{clock[:-1]} +0000 UTC" if clock.endswith("Z") else clock


FIELDS: dict[str, Field] = {
    "ID": ("NETWORK ID", identity),
    "Name": ("NAME", lambda record, _: record["Name"]),
    "Driver": ("DRIVER", lambda record, _: record["Driver"]),
    "Scope": ("SCOPE", lambda record, _: record["Scope"]),
    "IPv4": ("IPV4", _truth("EnableIPv4")),
    "IPv6": ("IPV6", _truth("EnableIPv6")),
    "Internal": ("INTERNAL", _truth("Internal")),
    "Labels": ("LABELS", lambda record, _: labels_text(record.get("Labels"))),
    "CreatedAt": ("CREATED AT", _created),
}


def network_path(name: str, verb: str = "") -> str:
    path = path_of("network", name)
    return f"{path}/{verb}" if verb else path


def list_networks(client: Client, arguments: Arguments) -> None:
    found = client.get("/networks", filters_query(arguments.many("filter")))
    records = sorted(found, key=lambda record: natural(record["Name"]))
    short = not arguments.flag("no-trunc")
    if arguments.flag("quiet") and arguments.text("format") in PLAIN:
        show_ids(records, identity, short)
    else:
        columns = ("ID", "Name", "Driver", "Scope")
        show_list(
            records,
            FIELDS,
            columns,
            arguments.text("format"),
            short=short,
            kind="network.networkContext",
        )


def create(client: Client, arguments: Arguments) -> None:
    text = arguments.text
    body: dict[str, Any] = {
        "Name": arguments.words[0],
        "Driver": text("driver", "bridge"),
        "Scope": text("scope"),
        "IPAM": {
            "Driver": text("ipam-driver", "default"),
            "Options": dict(arguments.many("ipam-opt")),
            "Config": _ranges(arguments),
        },
        "Internal": arguments.flag("internal"),
        "Attachable": arguments.flag("attachable"),
        "Ingress": arguments.flag("ingress"),
        "ConfigOnly": arguments.flag("config-only"),
        "ConfigFrom": {"Network": text("config-from")} if text("config-from") else None,
        "Options": dict(arguments.many("opt")),
        "Labels": dict(to_pair(each) for each in arguments.many("label")),
    }
    for option, key in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if arguments.given(option):
            body[key] = arguments.flag(option)
    answer = client.post("/networks/create", None, body)
    if answer.get("Warning"):
        complain(f"WARNING: {answer['Warning']}")
    say(answer["Id"])


def _several(arguments: Arguments, name: str) -> list[str]:
    """An option that takes several with commas, too."""
    return [part for text in arguments.many(name) for part in text.split(",")]


def _ranges(arguments: Arguments) -> list[dict[str, Any]]:
    """Subnets, each with the range, gateway and auxiliary addresses that lie in it."""
    subnets = _several(arguments, "subnet")
    gateways, ranges = _several(arguments, "gateway"), _several(arguments, "ip-range")
    if len(subnets) < max(len(gateways), len(ranges)):
        raise CommandFailed("every ip-range or gateway must have a corresponding subnet")
    found: dict[str, dict[str, Any]] = {}
    for subnet in subnets:
        if any(_holds(subnet, other) or _holds(other, subnet) for other in found):
            raise CommandFailed("multiple overlapping subnet configuration is not supported")
        found[subnet] = {"Subnet": subnet}

    def place(address: str, what: str) -> str:
        holding = [subnet for subnet in subnets if _holds(subnet, address)]
        if not holding:
            raise CommandFailed(f"no matching subnet for {what} {address}")
        return holding[0]

    def put(address: str, subnet: str, key: str, several: str) -> None:
        if before := found[subnet].get(key):
            where = f"{'on' if key == 'IPRange' else 'for'} the same subnet ({subnet})"
            words = f"cannot configure multiple {several} ({address}, {before}) {where}"
            raise CommandFailed(words)
        found[subnet][key] = address

    for each in ranges:
        _parse_range(each)
        put(each, place(each, "range"), "IPRange", "ranges")
    for each in gateways:
        put(each, place(each, "gateway"), "Gateway", "gateways")
    for name, address in arguments.many("aux-address"):
        entry = found[place(address, "aux-address")]
        entry.setdefault("AuxiliaryAddresses", {})[name] = address
    return list(found.values())


def _parse_range(text: str) -> IPv4Interface | IPv6Interface:
    from ipaddress import ip_interface

    try:
        if "/" not in text:
            raise ValueError(text)
        return ip_interface(text)
    except ValueError as error:
        raise CommandFailed(f"invalid CIDR address: {text}") from error


def _holds(subnet: str, address: str) -> bool:
    """Whether an address, or the one that a range begins with, lies in the subnet."""
    from ipaddress import ip_address

    try:
        network = _parse_range(subnet).network
    except CommandFailed as error:
        raise CommandFailed(f"invalid subnet: {error.message}") from error
    if "/" in address:
        return _parse_range(address).ip in network
    try:
        return ip_address(address) in network
    except ValueError:
        return False


def remove(client: Client, arguments: Arguments) -> int:
    failed = False
    for name in arguments.words:
        try:
            client.request("DELETE", network_path(name)).read()
        except (DaemonAnswered, EmptyName) as error:
            missing = isinstance(error, DaemonAnswered) and error.status == 404
            if arguments.flag("force") and missing:
                continue
            complain(error.message)
            failed = True
        else:
            say(name)
    if failed:
        raise CommandFailed("exit status 1")
    return 0


def connect(client: Client, arguments: Arguments) -> None:
    network, container = arguments.words
    addresses = {
        key: arguments.text(option)
        for option, key in (("ip", "IPv4Address"), ("ip6", "IPv6Address"))
        if arguments.text(option)
    }
    if arguments.many("link-local-ip"):
        addresses |= {"LinkLocalIPs": _several(arguments, "link-local-ip")}  # type: ignore[dict-item]
    driver_options = _several(arguments, "driver-opt")
    if not all("=" in text for text in driver_options):
        raise CommandFailed("invalid key/value pair format in driver options")
    options = [to_pair(text) for text in driver_options]
    endpoint = {
        "IPAMConfig": addresses,
        "Links": arguments.many("link") or None,
        "Aliases": _several(arguments, "alias") or None,
        "MacAddress": "",
        "DriverOpts": dict(options),
        "GwPriority": arguments.number("gw-priority"),
        **UNKNOWN,
    }
    body = {"Container": container, "EndpointConfig": endpoint}
    client.post(network_path(network, "connect"), None, body)


def disconnect(client: Client, arguments: Arguments) -> None:
    network, container = arguments.words
    body = {"Container": container, "Force": arguments.flag("force")}
    client.post(network_path(network, "disconnect"), None, body)


CREATE = Command(
    create,
    " [OPTIONS] NETWORK",
    "Create a network",
    (
        ("attachable", "", "bool", "Enable manual container attachment"),
        ("aux-address", "", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
        ("config-from", "", "string", "The network from which to copy the configuration"),
        ("config-only", "", "bool", "Create a configuration only network"),
        ("driver", "d", "string", 'Driver to manage the Network (default "bridge")'),
        ("gateway", "", "list", "IPv4 or IPv6 Gateway for the master subnet"),
        ("ingress", "", "bool", "Create swarm routing-mesh network"),
        ("internal", "", "bool", "Restrict external access to the network"),
        ("ip-range", "", "list", "Allocate container ip from a sub-range"),
        ("ipam-driver", "", "string", 'IP Address Management Driver (default "default")'),
        ("ipam-opt", "", "map", "Set IPAM driver specific options"),
        ("ipv4", "", "bool", "Enable or disable IPv4 address assignment (default true)"),
        ("ipv6", "", "bool", "Enable or disable IPv6 address assignment"),
        ("label", "", "list", "Set metadata on a network"),
        ("opt", "o", "map", "Set driver specific options"),
        ("scope", "", "string", "Control the network's scope"),
        ("subnet", "", "list", "Subnet in CIDR format that represents a network segment"),
    ),
    least=1,
    most=1,
    checks={
        "aux-address": to_pair,
        "ipam-opt": to_pair,
        "opt": to_pair,
        "label": check_label,
    },
)
LIST = Command(
    list_networks,
    " [OPTIONS]",
    "List networks",
    (
        ("filter", "f", "filter", 'Provide filter values (e.g. "driver=bridge")'),
        ("format", "", "string", FORMAT_HELP),
        ("no-trunc", "", "bool", "Do not truncate the output"),
        ("quiet", "q", "bool", "Only display network IDs"),
    ),
    most=0,
    checks={"filter": parse_filter},
)
REMOVE = Command(
    remove,
    " NETWORK [NETWORK...]",
    "Remove one or more networks",
    (("force", "f", "bool", "Do not error if the network does not exist"),),
    least=1,
)
CONNECT = Command(
    connect,
    " [OPTIONS] NETWORK CONTAINER",
    "Connect a container to a network",
    (
        ("alias", "", "list", "Add network-scoped alias for the container"),
        ("driver-opt", "", "list", "driver options for the network"),
        ("gw-priority", "", "int", "Highest gw-priority provides the default gateway"),
        ("ip", "", "string", 'IPv4 address (e.g., "172.30.100.104")'),
        ("ip6", "", "string", 'IPv6 address (e.g., "2001:db8::33")'),
        ("link", "", "list", "Add link to another container"),
        ("link-local-ip", "", "list", "Add a link-local address for the container"),
    ),
    least=2,
    most=2,
    checks={"link": check_link},
)
DISCONNECT = Command(
    disconnect,
    " [OPTIONS] NETWORK CONTAINER",
    "Disconnect a container from a network",
    (("force", "f", "bool", "Force the container to disconnect from a network"),),
    least=2,
    most=2,
)
