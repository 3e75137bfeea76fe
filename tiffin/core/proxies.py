"""Proxies as an environment names them, and as they are shown: without credentials. PURE."""

from __future__ import annotations

from collections.abc import Mapping


def of_environment(environment: Mapping[str, str], name: str) -> str:
    """Written in capitals or, where there is none of these, in small letters; "" for none."""
    return environment.get(name) or environment.get(name.lower(), "")


def masked(url: str) -> str:
    """In Docker's words for who may see that there is a proxy and not how to get through it."""
    scheme, separator, place = url.partition("://") if "://" in url else ("", "", url)
    _, at, host = place.rpartition("@")
    return f"{scheme}{separator}xxxxx:xxxxx@{host}" if at else url
