"""What `--security-opt` asks for: parsed once, refused by name where this host cannot do it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

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


class SecurityOptions(msgspec.Struct, frozen=True):
    no_new_privileges: bool = False
    seccomp: str = ""  # "": the default, "unconfined", or a profile's JSON
    apparmor: str = ""  # "": the default, "unconfined", or a profile's name
    unmasked: bool = False  # systempaths=unconfined


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
    match key:
        case "no-new-privileges":
            return msgspec.structs.replace(chosen, no_new_privileges=_boolean(value, option))
        case "seccomp":
            return msgspec.structs.replace(chosen, seccomp="" if value == "builtin" else value)
        case "systempaths" if value == UNCONFINED:
            return msgspec.structs.replace(chosen, unmasked=True)
        case "apparmor":
            return msgspec.structs.replace(chosen, apparmor=_apparmor(value, facts))
        case "label":
            _refuse_label(value, facts)
        case _:
            raise InvalidArgument(f'invalid --security-opt 2: "{option}"')
    return chosen


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


def _refuse_label(value: str, facts: SecurityFacts) -> None:
    if value == "disable":
        return
    why = "is not supported yet" if facts.selinux else "is not enabled in this kernel"
    raise InvalidArgument(f"invalid --security-opt label={value}: SELinux {why}")
