"""`--platform os[/arch[/variant]]` as the API has it since 1.48: JSON."""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsontext import encode

_NAMES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm"}


def platform_json(text: str) -> str:
    """CommandFailed for what is no platform."""
    parts = text.lower().split("/")
    if not all(parts) or len(parts) > 3:
        raise CommandFailed(f"invalid platform: {text}")
    if len(parts) == 1:
        from tiffin.cli.version import architecture

        parts.append(architecture())
    parts[1] = _NAMES.get(parts[1], parts[1])
    named = dict(zip(("os", "architecture", "variant"), parts, strict=False))
    order = ("architecture", "os", "variant")
    return encode({name: named[name] for name in order if name in named}).decode()


def platform_query(text: str) -> dict[str, str]:
    return {"platform": platform_json(text)} if text else {}
