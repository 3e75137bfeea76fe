"""Searches: the one thing that is still asked by version 1 of the registry protocol.

A term without a registry in it is for Docker Hub's index. Other registries are asked first whether
they are there; few know searches nowadays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from tiffin.core.image import without_nulls
from tiffin.core.reference import is_registry
from tiffin.errors import InvalidArgument, RegistryMisbehaved, TiffinError, Unavailable
from tiffin.registry.credentials import Credentials, basic
from tiffin.registry.messages import Request, Response
from tiffin.registry.trust import follow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiffin.registry.client import RegistryClient

INDEX = "index.docker.io"
_INDEX_NAMES = ("docker.io", INDEX)
_DEFAULT_LIMIT, _MOST = 25, 100
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10


class SearchResult(msgspec.Struct, frozen=True):
    name: str = ""
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Results(msgspec.Struct, frozen=True):
    results: tuple[SearchResult, ...] = ()


def split_term(term: str) -> tuple[str, str]:
    """The registry, "docker.io" for Docker Hub, and what to look for. Raises InvalidArgument."""
    if "://" in term:
        raise InvalidArgument(
            f"invalid repository name: repository name ({term}) should not have a scheme"
        )
    domain, slash, rest = term.partition("/")
    if not slash or not ("." in domain or ":" in domain or domain == "localhost"):
        return _INDEX_NAMES[0], term.removeprefix("library/")
    if domain in _INDEX_NAMES:
        return _INDEX_NAMES[0], rest.removeprefix("library/")
    if not is_registry(domain):
        raise InvalidArgument(f"invalid registry endpoint {domain}: invalid host")
    return domain, rest


def request_of(base: str, term: str, limit: int, credentials: Credentials | None) -> Request:
    """Raises InvalidArgument for a limit that is none. 0 is the default."""
    number = limit or _DEFAULT_LIMIT
    if not 1 <= number <= _MOST:
        raise InvalidArgument(f"limit {limit} is outside the range of [1, {_MOST}]")
    headers = {"X-Docker-Token": "true"}
    if credentials is not None and credentials.username and base.startswith("https://"):
        headers["Authorization"] = basic(credentials)
    query = urlencode({"q": term, "n": number})
    return Request("GET", f"{base}/v1/search?{query}", headers)


def results_of(response: Response) -> tuple[SearchResult, ...]:
    """Raises RegistryMisbehaved."""
    if response.status != 200:
        raise RegistryMisbehaved(f"Unexpected status code {response.status}")
    try:
        document = without_nulls(msgspec.json.decode(response.body))
        return msgspec.convert(document, _Results).results
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        words = f"error decoding registry search results: {error}"
        raise RegistryMisbehaved(words) from error


async def search(
    client: RegistryClient, term: str, limit: int, credentials: Credentials | None
) -> tuple[SearchResult, ...]:
    """Raises InvalidArgument, Unavailable, RegistryMisbehaved."""
    domain, wanted = split_term(term)
    base = f"https://{INDEX}"
    if domain not in _INDEX_NAMES:
        base = await _first_there(client, domain, client.bases(domain))
    return results_of(await _asked(client, request_of(base, wanted, limit, credentials)))


async def _first_there(client: RegistryClient, domain: str, bases: Sequence[str]) -> str:
    """Whatever it answers, it is there."""
    failures = []
    for base in bases:
        try:
            await _asked(client, Request("GET", f"{base}/v1/_ping"))
        except (Unavailable, RegistryMisbehaved) as error:
            failures.append(error)
        else:
            return base
    raise _nobody_there(domain, failures) from failures[-1]


def _nobody_there(domain: str, failures: Sequence[TiffinError]) -> InvalidArgument:
    if len(failures) > 1:
        return InvalidArgument(
            f'invalid registry endpoint "http://{domain}/v1/". HTTPS attempt: '
            f"{failures[0].message}. HTTP attempt: {failures[1].message}"
        )
    return InvalidArgument(
        f"invalid registry endpoint https://{domain}/v1/: {failures[0].message}. "
        "If this private registry supports only HTTP or HTTPS with an unknown CA certificate, "
        f"please add `--insecure-registry {domain}` to the daemon's arguments"
    )


async def _asked(client: RegistryClient, request: Request) -> Response:
    for _ in range(_MAX_REDIRECTS):
        async with client.transport.open(request) as reply:
            location = reply.head.headers.get("location", "")
            if reply.head.status not in _REDIRECTS or not location:
                return await reply.document()
        request = follow(request, location, client.clear)
    raise RegistryMisbehaved(f"stopped after {_MAX_REDIRECTS} redirects")
