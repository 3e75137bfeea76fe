"""Links between containers on the default bridge (`--link`): names in hosts, variables. PURE.

Docker's oldest way for one container to find another: the names of the linked one stand in the
linking one's hosts file, and its address, ports and environment in the environment.
"""

from __future__ import annotations

from collections.abc import Iterable

from tiffin.core.container import Container
from tiffin.core.ports import parse_port
from tiffin.errors import InvalidArgument

# Of a linked container's environment these say nothing to who links it.
_NOT_PASSED_ON = frozenset({"HOME", "PATH"})


def parse_link(text: str) -> tuple[str, str]:
    """(container, alias) of `container[:alias]`, or as `inspect` shows it: `/container:/us/alias`.

    Raises InvalidArgument in Docker's words.
    """
    if not text:
        raise InvalidArgument("empty string specified for links")
    parts = text.split(":")
    if len(parts) > 2 or not all(parts):
        raise InvalidArgument(f"bad format for links: {text}")
    name, alias = parts[0], parts[-1]
    if name.startswith("/"):
        name, alias = name[1:], alias.rpartition("/")[2]
    if not name or not alias or not alias.isprintable() or len(alias.split()) != 1:
        raise InvalidArgument(f"bad format for links: {text}")
    return name, alias


def hosts_line(child: Container, alias: str, address: str) -> str:
    """The linked container by its alias, its host name and its name."""
    names = dict.fromkeys([alias, child.config.hostname, child.name])
    return f"{address}\t{' '.join(filter(None, names))}\n"


def with_address(hosts: str, alias: str, address: str) -> str:
    """A hosts file in which `alias` has another address."""
    return "".join(
        f"{address}\t{rest}" if rest.split()[:1] == [alias] else line
        for line in hosts.splitlines(keepends=True)
        for rest in [line.partition("\t")[2]]
    )


def environment(child: Container, alias: str, address: str, parent_name: str) -> list[str]:
    """The variables that tell of a linked container: DB_PORT_5432_TCP_ADDR and its like."""
    name = alias.upper().replace("-", "_")
    found = _port_variables(name, address, _ports(child))
    found.append(f"{name}_NAME=/{parent_name}/{alias}")
    for entry in child.config.env or ():
        key, equals, value = entry.partition("=")
        if equals and key not in _NOT_PASSED_ON:
            found.append(f"{name}_ENV_{key}={value}")
    return found


def _ports(child: Container) -> list[tuple[str, int]]:
    """(protocol, port) of each that is exposed, tcp first."""
    ports = set()
    for text in child.config.exposed_ports or {}:
        numbers, _, protocol = text.partition("/")
        first, _, last = numbers.partition("-")
        low, kind = parse_port(f"{first}/{protocol or 'tcp'}")
        high = int(last) if last else low
        ports |= {(kind, number) for number in range(low, high + 1)}
    return sorted(ports, key=lambda port: (port[0] != "tcp", *port))


def _port_variables(name: str, address: str, ports: list[tuple[str, int]]) -> list[str]:
    found = []
    for place, (protocol, number) in enumerate(ports):
        url = f"{protocol}://{address}:{number}"
        if place == 0:
            found.append(f"{name}_PORT={url}")
        prefix = f"{name}_PORT_{number}_{protocol.upper()}"
        found += [
            f"{prefix}={url}",
            f"{prefix}_ADDR={address}",
            f"{prefix}_PORT={number}",
            f"{prefix}_PROTO={protocol}",
        ]
    for protocol, first, last in _runs(ports):
        prefix = f"{name}_PORT_{first}_{protocol.upper()}"
        found += [
            f"{prefix}_START={protocol}://{address}:{first}",
            f"{prefix}_PORT_START={first}",
            f"{prefix}_END={protocol}://{address}:{last}",
            f"{prefix}_PORT_END={last}",
        ]
    return found


def _runs(ports: Iterable[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """(protocol, first, last) where several ports follow each other."""
    runs: list[tuple[str, int, int]] = []
    for protocol, number in ports:
        if runs and runs[-1][0] == protocol and runs[-1][2] + 1 == number:
            runs[-1] = (protocol, runs[-1][1], number)
        else:
            runs.append((protocol, number, number))
    return [run for run in runs if run[1] != run[2]]
