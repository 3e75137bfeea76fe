"""Checks of single option values, made while the command line is parsed. ValueError says why."""

from __future__ import annotations

from tiffin.cli.options import to_bool
from tiffin.cli.surroundings import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax "
    "kernel.shmmni kernel.shm_rmid_forced".split()
)


def check_env(text: str) -> str:
    """`NAME=value`, or `NAME` with the value that our own environment has."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if equals:
        return text
    value = environment(name)
    return text if value is None else f"{name}={value}"


def check_label(text: str) -> str:
    key = text.partition("=")[0].lstrip(" \t")
    if not key:
        raise ValueError(f"invalid label '{text}': empty name")
    if " " in key or "\t" in key:
        raise ValueError(f"label '{key}' contains whitespaces")
    return text


def check_attach(text: str) -> str:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def is_address(text: str) -> bool:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except OSError:
            continue
        return True
    return False


def check_address(text: str) -> str:
    if not is_address(text.strip()):
        raise ValueError(f"IP address is not correctly formatted: {text}")
    return text.strip()


def check_extra_host(text: str) -> str:
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not found or not name or ":" in name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address != "host-gateway":
        if len(address) > 2 and address[0] == "[" and address[-1] == "]":
            address = address[1:-1]
        if not is_address(address.strip()):
            raise ValueError(f'invalid IP address in add-host: "{address}"')
    return f"{name}:{address}"


def check_search(text: str) -> str:
    domain = text.strip(" ")
    labels = domain.removesuffix(".").split(".")
    right = all(
        label and label.replace("-", "a").isalnum() and label[0] != "-" and label[-1] != "-"
        for label in labels
    )
    if domain != "." and not (right and domain.isascii() and any(map(str.isalpha, domain))):
        raise ValueError(f"{domain} is not a valid domain")
    return domain


def check_sysctl(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    allowed = name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))
    if not equals or not name or not allowed:
        raise ValueError(f"sysctl '{text}' is not allowed")
    return name, value


def check_link(text: str) -> str:
    if not text:
        raise ValueError("empty string specified for links")
    if text.count(":") > 1:
        raise ValueError(f"bad format for links: {text}")
    return text


def check_device_rule(text: str) -> str:
    kind, _, rest = text.partition(" ")
    numbers, _, mode = rest.partition(" ")
    major, colon, minor = numbers.partition(":")
    right = all(part == "*" or part.isdecimal() for part in (major, minor))
    if not (kind in ("a", "c", "b") and colon and right and 0 < len(mode) < 4):
        raise ValueError(f"invalid device cgroup format '{text}'")
    if mode.strip("rwm"):
        raise ValueError(f"invalid device cgroup format '{text}'")
    return text


def check_weight(text: str) -> dict[str, object]:
    path, number = _device_value(text)
    if not number.isdecimal() or (int(number) and not 10 <= int(number) <= 1000):
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": int(number)}


def check_bytes_rate(text: str) -> dict[str, object]:
    from tiffin.cli.quantities import parse_size

    path, number = _device_value(text)
    try:
        return {"Path": path, "Rate": parse_size(number)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is "
            "<device-path>:<number>[<unit>]. Number must be a positive integer. "
            "Unit is optional and can be kb, mb, or gb"
        ) from None


def check_operations_rate(text: str) -> dict[str, object]:
    path, number = _device_value(text)
    if not number.isdecimal():
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is "
            "<device-path>:<number>. Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(number)}


def _device_value(text: str) -> tuple[str, str]:
    path, colon, value = text.partition(":")
    if not colon or not path:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def check_network(text: str) -> dict[str, Any]:
    # Docker tells the long form by a word on each side of an equals sign.
    sides = zip(text.split("="), text.split("=")[1:], strict=False)
    if not any(_is_word(left[-1:]) and _is_word(right[:1]) for left, right in sides):
        return {"name": text}
    import tiffin.cli.mounts as words

    return words.parse_network(text)


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())


def check_no_trust(text: str) -> bool:
    if not to_bool(text):
        raise ValueError("there is no content trust")
    return True
