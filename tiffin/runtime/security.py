"""What `--security-opt` asks for: parsed once, refused by name where this host cannot do it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import msgspec

from tiffin.core import selinux
from tiffin.core.selinux import Policy
from tiffin.errors import InvalidArgument

UNCONFINED = "unconfined"
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


class SecurityFacts(Protocol):
    """Of the host's facts what is asked here."""

    @property
    def apparmor(self) -> bool: ...
    @property
    def selinux(self) -> bool: ...
    @property
    def labels(self) -> Policy | None: ...


class SecurityOptions(msgspec.Struct, frozen=True):
    no_new_privileges: bool = False
    seccomp: str = ""  # "": the default, "unconfined", or a profile's JSON
    apparmor: str = ""  # "": the default, "unconfined", or a profile's name
    unmasked: bool = False  # systempaths=unconfined
    writable_cgroups: bool | None = None  # None: of privileged containers alone
    label: tuple[str, ...] = ()  # SELinux's: "type:container_t", "disable"


def parse_security_options(options: Iterable[str], *, facts_of: SecurityFacts) -> SecurityOptions:
    """Raises InvalidArgument in Docker's words."""
    chosen = SecurityOptions()
    for option in options:
        chosen = _with(chosen, option, facts_of)
    return chosen


def _with(chosen: SecurityOptions, option: str, facts: SecurityFacts) -> SecurityOptions:
    if option == "no-new-privileges":
        return msgspec.structs.replace(chosen, no_new_privileges=True)
    key, value = ("label", option) if option == "disable" else _split(option)
    return msgspec.structs.replace(chosen, **_part(chosen, key, value, option, facts))


def _part(
    chosen: SecurityOptions, key: str, value: str, option: str, facts: SecurityFacts
) -> dict[str, Any]:
    """The field that it is, and its value."""
    match key:
        case "no-new-privileges":
            return {"no_new_privileges": _boolean(value, option)}
        case "writable-cgroups":
            return {"writable_cgroups": _boolean(value, option)}
        case "seccomp":
            return {"seccomp": "" if value == "builtin" else value}
        case "systempaths" if value == UNCONFINED:
            return {"unmasked": True}
        case "apparmor":
            return {"apparmor": _apparmor(value, facts)}
        case "label":
            return {"label": (*chosen.label, _label(value, facts))}
        case _:
            raise InvalidArgument(f'invalid --security-opt 2: "{option}"')


def _split(option: str) -> tuple[str, str]:
    separator = "=" if "=" in option else ":"
    key, found, value = option.partition(separator)
    if not found:
        raise InvalidArgument(f'invalid --security-opt 1: "{option}"')
    return key, value


def _boolean(value: str, option: str) -> bool:
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise InvalidArgument(f'invalid --security-opt 2: "{option}"')


def _apparmor(profile: str, facts: SecurityFacts) -> str:
    if profile not in (UNCONFINED, "") and not facts.apparmor:
        raise InvalidArgument(
            f"invalid --security-opt apparmor={profile}: AppArmor is not enabled in this kernel"
        )
    # It becomes a line of the kernel's file.
    if not profile.isprintable() or " " in profile:
        raise InvalidArgument(f"invalid --security-opt apparmor={profile!r}: no profile's name")
    return profile


def _label(value: str, facts: SecurityFacts) -> str:
    if value != selinux.DISABLE and facts.labels is None:
        where = "by the daemon (selinux-enabled)" if facts.selinux else "in this kernel"
        raise InvalidArgument(
            f"invalid --security-opt label={value}: SELinux is not enabled {where}"
        )
    return selinux.check_option(value)
