"""Networks as records, and the rules of addresses, names and ports. PURE.

Addresses and subnets are IPv4 text: "172.17.0.2", "172.17.0.0/16"; a gateway with its prefix
("172.17.0.1/16") is what `--bip` takes. Messages for users are Docker's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    ip_address,
)

import msgspec

from tiffin.errors import EngineFailure, InvalidArgument

BRIDGE, HOST, NONE = "bridge", "host", "none"
PREDEFINED = (BRIDGE, HOST, NONE)

ANY_ADDRESS = "0.0.0.0"
HOST_GATEWAY = "host-gateway"  # stands for the bridge's address in --add-host
DEFAULT_MTU = 1500
# What dockerd falls back to where the host's own servers cannot be reached from a container.
FALLBACK_NAMESERVERS = ("8.8.8.8", "8.8.4.4")

# Docker's local address pools, in its order of preference.
_POOLS = (
    *((f"172.{second}.0.0/16", 16) for second in (17, 18, 19)),
    *((f"172.{second}.0.0/14", 16) for second in (20, 24, 28)),
    ("192.168.0.0/16", 20),
)

_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


class Network(msgspec.Struct, frozen=True):
    id: str  # 64 hex digits
    name: str
    driver: str
    subnet: str = ""  # "172.17.0.0/16"
    gateway: str = ""  # "172.17.0.1"
    created_ns: int = 0
    internal: bool = False
    labels: dict[str, str] = {}
    options: dict[str, str] = {}


def bridge_options(bridge: str, mtu: int = DEFAULT_MTU) -> dict[str, str]:
    """What `inspect` shows as the default bridge's options."""
    return {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.enable_icc": "true",
        "com.docker.network.bridge.enable_ip_masquerade": "true",
        "com.docker.network.bridge.host_binding_ipv4": ANY_ADDRESS,
        "com.docker.network.bridge.name": bridge,
        "com.docker.network.driver.mtu": str(mtu),
    }


# --- addresses -----------------------------------------------------------------


def parse_bip(bip: str) -> tuple[str, str]:
    """(subnet, gateway) of "172.17.0.1/16". Raises InvalidArgument."""
    try:
        interface = IPv4Interface(bip)
    except ValueError as error:
        raise InvalidArgument(f"invalid CIDR address: {bip}") from error
    network = interface.network
    if network.prefixlen > 30 or interface.ip in (network.network_address, _last(network)):
        raise InvalidArgument(f"invalid bridge address: {bip} is no host address of a network")
    return str(network), str(interface.ip)


def _last(network: IPv4Network) -> IPv4Address:
    return network.broadcast_address


def choose_bridge_address(routes: Iterable[str]) -> str:
    """The first of Docker's pools that overlaps none of the host's routes, as gateway/prefix."""
    taken = [network for network in map(IPv4Network, routes) if network.prefixlen]
    for pool, prefix in _POOLS:
        for candidate in IPv4Network(pool).subnets(new_prefix=prefix):
            if not any(candidate.overlaps(network) for network in taken):
                return f"{candidate.network_address + 1}/{prefix}"
    raise EngineFailure(
        "could not find an available, non-overlapping IPv4 address pool among the defaults "
        "to assign to the network"
    )


class AddressPool:
    """The host addresses of a subnet: the lowest free one is given, however many are in use.

    An address may be held several times over, and lie outside: in what an earlier daemon gave.
    """

    def __init__(self, subnet: str, gateway: str) -> None:
        self.subnet = subnet
        network = IPv4Network(subnet)
        self._first = int(network.network_address) + 1
        self._broadcast = int(network.broadcast_address)
        self._lowest = self._first  # no address below is free
        self._holders: dict[int, int] = {}  # by address, how many
        self.hold(gateway)

    def take(self) -> str:
        """Raises EngineFailure when all are in use."""
        for number in range(self._lowest, self._broadcast):
            if number not in self._holders:
                self._lowest = number + 1
                self._holders[number] = 1
                return str(IPv4Address(number))
        raise EngineFailure(
            f"no available IPv4 addresses on this network's address pools: {self.subnet}"
        )

    def hold(self, address: str) -> None:
        number = int(IPv4Address(address))
        self._holders[number] = self._holders.get(number, 0) + 1

    def give_back(self, address: str) -> None:
        number = int(IPv4Address(address))
        self._holders[number] -= 1
        if not self._holders[number]:
            del self._holders[number]
            self._lowest = max(self._first, min(self._lowest, number))


def mac_of(address: str) -> str:
    """Docker's address for a container's link: 02:42 and the IPv4 address.

    An address that is used again then has the same MAC, so nobody's ARP cache is wrong.
    """
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


# --- files in /etc -------------------------------------------------------------


def resolv_conf(
    host_text: str, dns: Sequence[str], search: Sequence[str], options: Sequence[str]
) -> str:
    """A container's resolv.conf: the host's, as far as it makes sense in there, and overrides.

    The host's loopback servers are not the container's, and IPv6 ones are out of its reach: they
    are dropped, and if none is left Docker's fallbacks are used. `search` "." is "no domains".
    """
    host = _ResolvConf(host_text)
    servers = [_checked_address(server) for server in dns] or [
        server for server in host.servers if _is_reachable(server)
    ]
    domains = [_checked_word(word, "DNS search domain") for word in search] or host.search
    settings = [_checked_word(word, "DNS option") for word in options] or host.options
    lines = [f"nameserver {server}" for server in servers or FALLBACK_NAMESERVERS]
    if domains and "." not in domains:
        lines.append("search " + " ".join(domains))
    if settings:
        lines.append("options " + " ".join(settings))
    return "\n".join([*lines, *host.others]) + "\n"


class _ResolvConf:
    def __init__(self, content: str) -> None:
        self.servers: list[str] = []
        self.search: list[str] = []
        self.options: list[str] = []
        self.others: list[str] = []
        for line in content.splitlines():
            self._take(line.split("#")[0].split(";")[0].split())

    def _take(self, words: list[str]) -> None:
        match words:
            case ["nameserver", *servers]:
                self.servers += servers[:1]
            case ["search" | "domain", *domains]:
                self.search = domains  # the last one counts (resolv.conf(5))
            case ["options", *options]:
                self.options += options
            case [_, *_]:
                self.others.append(" ".join(words))


def _is_reachable(server: str) -> bool:
    try:
        address = ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return isinstance(address, IPv4Address) and not address.is_loopback


def hosts_file(
    address: str, hostname: str, domainname: str, extra_hosts: Sequence[str] = ()
) -> str:
    """A container's hosts file. `address` "" leaves its line out; extra hosts: "name:address"."""
    extra = "".join(hosts_line(entry) for entry in extra_hosts)
    return _HOSTS + extra + (_own_line(address, hostname, domainname) if address else "")


def hosts_line(entry: str) -> str:
    """The hosts line of one `--add-host`. Raises InvalidArgument."""
    name, _, address = entry.partition(":")
    _checked_word(name, "extra host")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    try:
        _parsed_address(address)
    except ValueError as error:
        raise InvalidArgument(f'invalid IP address in add-host: "{_shown(address)}"') from error
    return f"{address}\t{name}\n"


def _own_line(address: str, hostname: str, domainname: str) -> str:
    """The full name, then the bare one: the domain may be part of the hostname."""
    _checked_word(hostname, "hostname")
    if domainname:
        _checked_word(domainname, "domain name")
        hostname = f"{hostname}.{domainname}"
    bare, dot, _ = hostname.partition(".")
    return f"{address}\t{hostname} {bare}\n" if dot else f"{address}\t{hostname}\n"


def _checked_address(address: str) -> str:
    try:
        return str(_parsed_address(address))
    except ValueError as error:
        raise InvalidArgument(f"invalid IP address: {_shown(address)}") from error


def _parsed_address(address: str) -> IPv4Address | IPv6Address:
    """What follows an IPv6 address's "%" may be anything to Python: here it is a link's name."""
    if not address.isprintable() or " " in address:
        raise ValueError(address)
    return ip_address(address)


def _checked_word(word: str, what: str) -> str:
    """One word in one line: what a line break or a blank could smuggle in is refused."""
    if not word or not word.isprintable() or len(word.split()) != 1:
        raise InvalidArgument(f'invalid {what}: "{_shown(word)}"')
    return word


def _shown(value: str) -> str:
    return value.encode("unicode_escape").decode()


# --- ports ---------------------------------------------------------------------


def checked_host_address(host_ip: str) -> str:
    """The IPv4 address to publish on; "" is every address. Raises InvalidArgument."""
    try:
        return str(IPv4Address(host_ip)) if host_ip else ANY_ADDRESS
    except AddressValueError as error:
        raise InvalidArgument(f"invalid IP address: {_shown(host_ip)}") from error


def port_is_allocated(host_ip: str, port: int) -> str:
    """A container holds it."""
    return f"Bind for {host_ip}:{port} failed: port is already allocated"


def port_cannot_be_bound(protocol: str, host_ip: str, port: int, cause: str) -> str:
    """A program of the host holds it (dockerd's words with its userland proxy), or bind failed."""
    return (
        f"Error starting userland proxy: listen {protocol}4 {host_ip}:{port}: "
        f"bind: {cause[:1].lower()}{cause[1:]}"
    )


def no_port_is_free(first: int, last: int, host_ip: str) -> str:
    if first == last:
        return port_is_allocated(host_ip, first)
    return f"Bind for {host_ip}:{first}-{last} failed: all ports are allocated"
