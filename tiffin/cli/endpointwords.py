"""What a container is on its networks: `--network` in both forms, `--ip`, `--network-alias`, ..."""

from __future__ import annotations

from tiffin.cli.failures import WrongOption

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.options import Arguments

# What the daemon alone knows; Docker's command line sends it empty.
UNKNOWN: dict[str, Any] = {
    "NetworkID": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "DNSNames": None,
}
_PREDEFINED = frozenset(("", "default", "bridge", "host", "none"))


def check_mac(text: str) -> None:
    parts = text.strip().replace("-", ":").split(":")
    digits = "0123456789abcdefABCDEF"
    right = all(len(part) == 2 and not part.strip(digits) for part in parts)
    if len(parts) not in (6, 8, 20) or not right:
        raise WrongOption(f"{text} is not a valid mac address")


def _is_user_defined(network: str) -> bool:
    return network not in _PREDEFINED and not network.startswith("container:")


def endpoints(arguments: Arguments) -> dict[str, Any]:
    """The endpoint settings by network; a network without any, asked for alone, has no entry."""
    networks = arguments.many("network")
    found: dict[str, Any] = {}
    for number, network in enumerate(networks or [{"name": "default"}]):
        asked = dict(network)
        if number == 0:
            _add_container_options(asked, arguments)
        name = asked["name"]
        if name in found:
            raise WrongOption(f'network "{name}" is specified multiple times')
        endpoint = _endpoint(asked)
        if len(networks) == 1 and endpoint == _endpoint({"name": name}):
            continue
        found[name] = endpoint
    kinds = {_is_user_defined(network["name"]) for network in networks}
    if len(kinds) > 1:
        raise WrongOption(
            "conflicting options: "
            "cannot attach both user-defined and non-user-defined network-modes"
        )
    return found


# option, key of a --network field, what the conflict is about
_ENDPOINT_OPTIONS = (
    ("network-alias", "alias", "--network-alias and per-network alias"),
    ("link", "link", "--link and per-network links"),
    ("ip", "ip", "--ip and per-network IPv4 address"),
    ("ip6", "ip6", "--ip6 and per-network IPv6 address"),
    ("mac-address", "mac-address", "--mac-address and per-network MAC address"),
    ("link-local-ip", "link-local-ip", "--link-local-ip and per-network link-local IP addresses"),
)


def _add_container_options(asked: dict[str, Any], arguments: Arguments) -> None:
    """`--ip`, `--network-alias` and their like belong to the first network."""
    for option, key, pair in _ENDPOINT_OPTIONS:
        if not arguments.values.get(option):
            continue
        if asked.get(key):
            raise WrongOption(f"conflicting options: cannot specify both {pair}")
        if option == "link" and not _is_user_defined(asked["name"]):
            continue
        asked[key] = arguments.values[option]


def _endpoint(asked: dict[str, Any]) -> dict[str, Any]:
    name = asked["name"]
    if not name.strip():
        raise WrongOption("no name set for network")
    if not _is_user_defined(name):
        if asked.get("alias"):
            raise WrongOption("network-scoped aliases are only supported for user-defined networks")
        if asked.get("link"):
            raise WrongOption("links are only supported for user-defined networks")
    if asked.get("mac-address"):
        check_mac(asked["mac-address"])
    addresses = {
        title: asked[key]
        for title, key in (
            ("IPv4Address", "ip"),
            ("IPv6Address", "ip6"),
            ("LinkLocalIPs", "link-local-ip"),
        )
        if asked.get(key)
    }
    return {
        "IPAMConfig": addresses or None,
        "Links": asked.get("link") or None,
        "Aliases": asked.get("alias") or None,
        "MacAddress": asked.get("mac-address", ""),
        "DriverOpts": asked.get("driver-opt") or None,
        "GwPriority": asked.get("gw-priority", 0),
        **UNKNOWN,
    }
