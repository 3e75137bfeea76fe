"""The distribution protocol without I/O: what to ask a registry, and what its answers mean.

A conversation is a generator: it yields a `Request`, is sent the `Response`, returns its result.
The client drives it over a network, a test over literals. Only documents travel so (4 MiB at most);
the bodies of blobs are streamed by the client, which asks here what their heads mean.

Whatever a registry says is hostile: documents are checked against digest and media type, locations
and token realms against the host that they came from, before anything is believed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import msgspec

from tiffin.core import image as images
from tiffin.core.image import Descriptor, Index, Manifest, Platform, digest_of
from tiffin.core.reference import Reference
from tiffin.errors import NotFound, RegistryMisbehaved
from tiffin.registry.documents import MANIFEST_TYPES, check_manifest, read_document
from tiffin.registry.messages import Conversation, Request, Response, printable
from tiffin.registry.refusals import refusal
from tiffin.registry.trust import ClearText, origin, resolve_location

# -- manifests ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resolved:
    """An image as the registry has it. `digest` is of what the tag names: perhaps an index."""

    digest: str
    manifest_bytes: bytes
    manifest: Manifest
    descriptor: Descriptor  # of the manifest itself


def resolve(base: str, reference: Reference, platform: Platform) -> Conversation[Resolved]:
    """The manifest of `reference` for `platform`, through an index where there is one.

    Raises RegistryError, RegistryMisbehaved, NotFound (no such platform).
    """
    wanted = reference.digest or reference.tagged().tag
    body, media_type = yield from _document(base, reference, wanted)
    top = digest_of(body)
    document = read_document(body, media_type)
    if isinstance(document, Index):
        chosen = images.choose_platform(document, platform)
        if chosen is None:
            raise NotFound(
                f"no matching manifest for {images.format_platform(platform)} "
                "in the manifest list entries"
            )
        if not images.is_digest(chosen.digest):
            raise RegistryMisbehaved(f"invalid descriptor {printable(chosen.digest)!r}")
        body, media_type = yield from _document(base, reference, chosen.digest)
        if len(body) != chosen.size:
            raise RegistryMisbehaved(f"manifest {chosen.digest} has another size than announced")
        document = read_document(body, media_type)
        if isinstance(document, Index):
            raise RegistryMisbehaved("an index that leads to an index is not supported")
    check_manifest(document)
    kind = document.media_type or (media_type if media_type in MANIFEST_TYPES else "")
    descriptor = Descriptor(kind or images.OCI_MANIFEST, digest_of(body), len(body))
    return Resolved(top, body, document, descriptor)


@dataclass(frozen=True)
class Described:
    """What a name stands for: an index's platforms, or a manifest's config, which has the one."""

    descriptor: Descriptor
    platforms: tuple[Platform, ...]
    config: Descriptor | None = None


def describe(base: str, reference: Reference) -> Conversation[Described]:
    wanted = reference.digest or reference.tagged().tag
    body, media_type = yield from _document(base, reference, wanted)
    document = read_document(body, media_type)
    kind = document.media_type or media_type
    entries = document.manifests if isinstance(document, Index) else ()
    platforms = tuple(entry.platform for entry in entries if entry.platform)
    config = document.config if isinstance(document, Manifest) else None
    return Described(Descriptor(kind, digest_of(body), len(body)), platforms, config)


def _document(base: str, reference: Reference, wanted: str) -> Conversation[tuple[bytes, str]]:
    request = Request(
        "GET",
        f"{base}/v2/{reference.path}/manifests/{wanted}",
        {"Accept": ", ".join(MANIFEST_TYPES)},
    )
    response = yield request
    if not response.succeeded:
        raise refusal(response)
    announced = response.headers.get("docker-content-digest", "")
    expected = wanted if images.is_digest(wanted) else announced
    if images.is_digest(expected) and digest_of(response.body) != expected:
        raise RegistryMisbehaved(f"manifest verification failed for digest {expected}")
    return response.body, response.headers.get("content-type", "").partition(";")[0].strip()


# -- blobs -------------------------------------------------------------------------------------


def blob_request(base: str, reference: Reference, digest: str, offset: int) -> Request:
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    # Compressed transfer would change the bytes that the digest names.
    headers["Accept-Encoding"] = "identity"
    return Request("GET", f"{base}/v2/{reference.path}/blobs/{digest}", headers)


_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII)


def bytes_to_skip(response: Response, offset: int, size: int) -> int:
    """How many bytes of this answer's body we have. Raises RegistryMisbehaved for a wrong range."""
    length = response.headers.get("content-length")
    if response.status == 200:
        if length is not None and length != str(size):
            raise RegistryMisbehaved(f"blob has {printable(length)} bytes instead of {size}")
        return offset
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if response.status != 206 or match is None or int(match[1]) != offset:
        raise RegistryMisbehaved("registry answered with another range than asked for")
    return 0


def has_blob(base: str, reference: Reference, digest: str) -> Conversation[bool]:
    response = yield Request("HEAD", f"{base}/v2/{reference.path}/blobs/{digest}")
    if response.succeeded:
        return True
    if response.status == 404:
        return False
    raise refusal(response)


def begin_upload(
    base: str, reference: Reference, clear: ClearText, *, mount: tuple[str, str] | None = None
) -> Conversation[str | None]:
    """The URL to upload to; None if `mount` (digest, other repository) has put the blob there."""
    url = f"{base}/v2/{reference.path}/blobs/uploads/"
    if mount:
        url += "?" + urlencode({"mount": mount[0], "from": mount[1]})
    response = yield Request("POST", url, {"Content-Length": "0"})
    if mount and response.status == 201:
        return None
    if response.status not in (201, 202):
        raise refusal(response)
    return upload_location(url, response, clear)


def upload_location(url: str, response: Response, clear: ClearText) -> str:
    location = response.headers.get("location", "")
    if not location:
        raise RegistryMisbehaved("registry did not say where to upload to")
    return resolve_location(url, location, clear)


def committing(location: str, digest: str) -> str:
    """The URL that ends an upload: the registry's own query is kept as it is."""
    separator = "&" if urlsplit(location).query else "?"
    return f"{location}{separator}{urlencode({'digest': digest})}"


def put_manifest(
    base: str, reference: Reference, media_type: str, body: bytes
) -> Conversation[None]:
    wanted = reference.digest or reference.tagged().tag
    response = yield Request(
        "PUT",
        f"{base}/v2/{reference.path}/manifests/{wanted}",
        {"Content-Type": media_type, "Content-Length": str(len(body))},
        body,
    )
    if not response.succeeded:
        raise refusal(response)
    announced = response.headers.get("docker-content-digest", "")
    if images.is_digest(announced) and announced != digest_of(body):
        raise RegistryMisbehaved(f"registry kept another manifest than it was sent: {announced}")


class _Tags(msgspec.Struct):
    tags: list[str] = []


_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?', re.ASCII)


def list_tags(base: str, reference: Reference, clear: ClearText) -> Conversation[list[str]]:
    """All tags of the repository, page after page."""
    url, tags = f"{base}/v2/{reference.path}/tags/list", list[str]()
    for _ in range(1000):
        response = yield Request("GET", url)
        if not response.succeeded:
            raise refusal(response)
        try:
            raw = images.without_nulls(msgspec.json.decode(response.body))
            tags += msgspec.convert(raw, _Tags).tags
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise RegistryMisbehaved(f"unable to decode the list of tags: {error}") from error
        following = _NEXT.search(response.headers.get("link", ""))
        if following is None:
            break
        target = resolve_location(url, following[1], clear)
        if origin(target) != origin(url):
            raise RegistryMisbehaved("the list of tags goes on at another host")
        url = target
    return tags
