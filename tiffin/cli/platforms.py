"""`--platform os[/arch[/variant]]`: what it means, and the forms in which the API takes it.

Docker's rules: a word alone is a system or an architecture, names have aliases, and what is no
platform is refused before a daemon is asked for anything.
"""

from __future__ import annotations

import re

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsontext import encode
from tiffin.cli.version import architecture
from tiffin.cli.wording import go_quote

_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 "
    "solaris windows zos".split()
)
_ARCHITECTURES = frozenset(
    "386 amd64 amd64p32 arm armbe arm64 arm64be ppc64 ppc64le loong64 mips mipsle mips64 mips64le "
    "mips64p32 mips64p32le ppc riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)
_ALIASES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_VARIANTS = {
    ("amd64", "v1"): "",
    **{("arm64", variant): "" for variant in ("8", "v8", "v8.0")},
    **{("arm64", variant): "v9" for variant in ("9", "9.0", "v9.0")},
    **{("arm", variant): f"v{variant}" for variant in "5678"},
    ("arm", ""): "v7",
}
_SYSTEM = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?$"
_COMPONENT = r"^[A-Za-z0-9_.-]+$"
_INVALID = "invalid argument"


def parse_platform(text: str) -> dict[str, str]:
    """The parts of it that are there, by the names that OCI has. ValueError for no platform."""
    if "*" in text:
        raise ValueError(f"{go_quote(text)}: wildcards not yet supported: {_INVALID}")
    first, *others = text.split("/", 3)
    system = re.fullmatch(_SYSTEM[1:-1], first)
    if system is None:
        raise ValueError(
            f"{go_quote(first)} is an invalid OS component of {go_quote(text)}: "
            f"OSAndVersion specifier component must match {go_quote(_SYSTEM)}: {_INVALID}"
        )
    for part in others:
        if not re.fullmatch(_COMPONENT[1:-1], part):
            raise ValueError(
                f"{go_quote(part)} is an invalid component of {go_quote(text)}: "
                f"platform specifier component must match {go_quote(_COMPONENT)}: {_INVALID}"
            )
    if len(others) > 2:
        raise ValueError(f"{go_quote(text)}: cannot parse platform specifier: {_INVALID}")
    os = system[1].lower()
    os = "darwin" if os == "macos" else os
    if not others and os not in _SYSTEMS:
        machine, variant = _machine(first)
        if machine not in _ARCHITECTURES:
            raise ValueError(
                f"{go_quote(text)}: unknown operating system or architecture: {_INVALID}"
            )
        return _present(machine, "linux", "", variant)
    machine, variant = _machine(*others) if others else (architecture(), "")
    return _present(machine, os, system[2] or "", variant)


def _machine(name: str, variant: str | None = None) -> tuple[str, str]:
    """Architecture and variant by the names that images have for them."""
    name, given = name.lower(), (variant or "").lower()
    name, fixed = _ALIASES.get(name, (name, None))
    given = given if fixed is None else fixed
    given = _VARIANTS.get((name, given), given)
    if variant is None and (name, given) == ("arm", "v7"):
        return name, ""
    if variant is not None and (name, given) == ("arm64", ""):
        return name, "v8"
    return name, given


def _present(machine: str, os: str, version: str, variant: str) -> dict[str, str]:
    found = {"architecture": machine, "os": os, "os.version": version, "variant": variant}
    return {name: value for name, value in found.items() if value}


def platform_words(text: str) -> str:
    """The platform as `os/arch[/variant]`, its aliases resolved. ValueError for no platform."""
    found = parse_platform(text)
    return "/".join(found[name] for name in ("os", "architecture", "variant") if name in found)


def platform_json(text: str, blame: str = "") -> str:
    """The platform as JSON. CommandFailed for no platform, `blame` before what is wrong with it."""
    try:
        return encode(parse_platform(text)).decode()
    except ValueError as error:
        raise CommandFailed(f"{blame}{error}") from error
