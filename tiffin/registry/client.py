"""The registry client: conversations held over connections, blobs streamed and verified in passing.

    repository = client.repository(reference, credentials)
    resolved = await repository.resolve(platform)
    await repository.fetch_blob(layer, sink, progress)

A repository remembers which endpoint answered (a mirror, https, or http where that is allowed) and
the token that it was given. An interrupted download goes on where it stopped; what failed for a
passing reason is tried again, a few times.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from enum import Enum
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

from tiffin.core.image import Descriptor, Platform, digest_of
from tiffin.core.reference import DEFAULT_DOMAIN, Reference, is_registry
from tiffin.errors import (
    InvalidArgument,
    RegistryMisbehaved,
    TiffinError,
    Unauthorized,
    Unavailable,
)
from tiffin.registry import protocol
from tiffin.registry.credentials import Challenge, Credentials, basic, parse_challenges, token
from tiffin.registry.messages import Conversation, Request, Response
from tiffin.registry.protocol import Described, Resolved
from tiffin.registry.refusals import RegistryError, pull_error, push_error, refusal
from tiffin.registry.threads import in_thread
from tiffin.registry.trust import ClearText, follow, origin

if TYPE_CHECKING:
    from tiffin.registry.transport import Reply, Transport

_T = TypeVar("_T")

DOCKER_HUB = "registry-1.docker.io"
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 10
_PASSING = (408, 429, 500, 502, 503, 504)  # statuses that another try may cure
_DELAYS_SECONDS = (0.2, 0.5, 1.0, 2.0)
_WRITE_BYTES = 1024 * 1024
_READ_BYTES = 256 * 1024
_MONOLITHIC_BYTES = 64 * 1024

Progress = Callable[[int], None]


class BlobSink(Protocol):
    """Where a blob's bytes go, in order. Nobody sees them before size and digest are found right.

    The client stops at the announced size; the sink's owner commits it, which verifies the digest.
    `write` is called in a thread, one call at a time.
    """

    @property
    def size(self) -> int:
        """Bytes written so far: where an interrupted download goes on."""
        ...

    def write(self, data: bytes) -> object: ...


class _Memory:
    def __init__(self) -> None:
        self.data = b""

    @property
    def size(self) -> int:
        return len(self.data)

    def write(self, data: bytes) -> None:
        self.data += data


class Upload(Enum):
    EXISTED = "Layer already exists"
    MOUNTED = "Mounted from"
    SENT = "Pushed"


def _no_progress(_: int) -> None:
    pass


def _bare(mirrors: Sequence[str]) -> tuple[str, ...]:
    return tuple(mirror.rstrip("/") for mirror in mirrors)


class RegistryClient:
    """For all registries. Connections are made when needed and shared."""

    def __init__(
        self,
        insecure: Collection[str] = (),
        mirrors: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        delays_seconds: Sequence[float] = _DELAYS_SECONDS,
    ) -> None:
        self.clear = ClearText(frozenset(insecure))
        self._mirrors = _bare(mirrors)
        self._environment = os.environ if environment is None else environment
        self.delays_seconds = tuple(delays_seconds)
        self._transport: Transport | None = None

    def configure(
        self, insecure: Collection[str], mirrors: Sequence[str], attempts: int = 5
    ) -> None:
        """From the next request on. Transfers that fail are tried `attempts` times."""
        self.clear.set(frozenset(insecure))
        self._mirrors = _bare(mirrors)
        delays = _DELAYS_SECONDS + _DELAYS_SECONDS[-1:] * attempts
        self.delays_seconds = delays[: max(attempts, 1) - 1]

    @property
    def transport(self) -> Transport:
        if self._transport is None:
            # An idle daemon never pulls: TLS and HTTP are loaded by the first who does.
            from tiffin.registry.transport import Transport  # noqa: PLC0415

            self._transport = Transport(self.clear, self._environment)
        return self._transport

    def repository(
        self,
        reference: Reference,
        credentials: Credentials | None = None,
        *,
        to_push: bool = False,
        mount_from: Sequence[str] = (),
    ) -> Repository:
        """A session with the reference's repository. `mount_from`: other repositories' paths."""
        scopes = [f"repository:{reference.path}:" + ("pull,push" if to_push else "pull")]
        scopes += [f"repository:{path}:pull" for path in mount_from]
        endpoints = [
            Endpoint(self, base, tuple(scopes), credentials)
            for base in self.bases(_registry_address(reference.domain))
        ]
        if reference.domain == DEFAULT_DOMAIN and not to_push:
            # A mirror is another host: it gets no credentials of docker.io.
            endpoints = [Endpoint(self, m, tuple(scopes), None) for m in self._mirrors] + endpoints
        return Repository(reference, endpoints)

    async def login(self, address: str, credentials: Credentials) -> None:
        """Raises Unauthorized if the registry refuses, InvalidArgument for what is no host."""
        host = address.removeprefix("https://").removeprefix("http://").partition("/")[0]
        host = _registry_address("docker.io" if host in ("", "index.docker.io") else host)
        if not is_registry(host):
            raise InvalidArgument(f"unable to parse server address: {address!r}")
        endpoints = [Endpoint(self, base, (), credentials) for base in self.bases(host)]
        repository = Repository(Reference(host, ""), endpoints)
        try:
            await repository.connect()
        except RegistryError as error:
            raise Unauthorized(error.message) from error

    async def aclose(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    def bases(self, address: str) -> list[str]:
        """Where it may be asked, the best first."""
        secure = [f"https://{address}"]
        return [*secure, f"http://{address}"] if self.clear.allows(address) else secure


def _registry_address(domain: str) -> str:
    return DOCKER_HUB if domain == DEFAULT_DOMAIN else domain


class Endpoint:
    """One base URL of a registry, and how we are authorised there."""

    def __init__(
        self,
        client: RegistryClient,
        base: str,
        scopes: tuple[str, ...],
        credentials: Credentials | None,
    ) -> None:
        self.base = base
        self.clear = client.clear
        self.delays_seconds = client.delays_seconds
        self._client = client
        self._scopes = scopes
        self._credentials = credentials
        self._authorization = ""
        self._expires = 0.0
        self._challenges: list[Challenge] = []
        self._authorizing = asyncio.Lock()

    async def ping(self) -> None:
        """Find out that a registry is there, and how it wants to be spoken to."""
        request = Request("GET", f"{self.base}/v2/")
        response = await self._document(request)
        if response.status == 401:
            self._challenges = parse_challenges(response.headers.get("www-authenticate", ""))
            await self._authorize(request)
            if self._scopes:
                return
            response = await self._document(self._authorized(request))
        if not response.succeeded and response.status != 404:
            raise refusal(response)

    async def converse(self, conversation: Conversation[_T]) -> _T:
        try:
            request = next(conversation)
            while True:
                request = conversation.send(await self.send(request))
        except StopIteration as end:
            result: _T = end.value
            return result

    async def send(self, request: Request) -> Response:
        """The answer to a small request, tried again where that may help."""

        async def attempt() -> Response:
            response = await self._send_once(request)
            if response.status in _PASSING:
                raise _PassingError(refusal(response))
            return response

        return await self.persist(attempt)

    async def _send_once(self, request: Request) -> Response:
        async with AsyncExitStack() as stack:
            reply = await self.open(stack, request)
            return await reply.document()

    async def persist(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        for delay in (*self.delays_seconds, None):
            try:
                return await attempt()
            except _PassingError as error:
                if delay is None:
                    raise error.reason from error
            except Unavailable:
                if delay is None:
                    raise
            await asyncio.sleep(delay)
        raise AssertionError("unreachable")

    async def open(
        self,
        stack: AsyncExitStack,
        request: Request,
        content: Callable[[], AsyncIterator[bytes]] | None = None,
    ) -> Reply:
        """Send authorised, follow redirects; `content` is called for each sending of a body."""
        if self._authorization and time.monotonic() > self._expires:
            await self._authorize(request)
        reply = await self._follow(stack, self._authorized(request), content)
        challenges = self._challenges_of(reply)
        if challenges:
            self._challenges = challenges
            stale = self._authorization
            await self._authorize(request, stale=stale)
            if self._authorization != stale:
                await stack.aclose()
                reply = await self._follow(stack, self._authorized(request), content)
        return reply

    async def _follow(
        self,
        stack: AsyncExitStack,
        request: Request,
        content: Callable[[], AsyncIterator[bytes]] | None,
    ) -> Reply:
        for _ in range(_MAX_REDIRECTS):
            body = content() if content else None
            reply = await stack.enter_async_context(self._client.transport.open(request, body))
            location = reply.head.headers.get("location", "")
            repeatable = request.method in ("GET", "HEAD") or reply.head.status in (307, 308)
            if reply.head.status not in _REDIRECTS or not location or not repeatable:
                return reply
            request = follow(request, location, self.clear)
        raise RegistryMisbehaved(f"stopped after {_MAX_REDIRECTS} redirects")

    async def _document(self, request: Request) -> Response:
        async with AsyncExitStack() as stack:
            return await (await self._follow(stack, request, None)).document()

    # -- authorisation -----------------------------------------------------------------------

    def _authorized(self, request: Request) -> Request:
        # An upload's location may be at another host: what we know is for this one only.
        if not self._authorization or origin(request.url) != origin(self.base):
            return request
        headers = {**request.headers, "Authorization": self._authorization}
        return Request(request.method, request.url, headers, request.body)

    def _challenges_of(self, reply: Reply) -> list[Challenge]:
        # A host that we were redirected to gets no say in where credentials go.
        if reply.head.status != 401 or origin(reply.url) != origin(self.base):
            return []
        return parse_challenges(reply.head.headers.get("www-authenticate", ""))

    async def _authorize(self, request: Request, stale: str | None = None) -> None:
        async with self._authorizing:
            if stale is not None and self._authorization != stale:
                return  # another transfer has just done it
            await self._answer_challenge(request)

    async def _answer_challenge(self, request: Request) -> None:
        for challenge in self._challenges:
            if challenge.scheme == "bearer":
                conversation = token(challenge, self._scopes, self._credentials, self.clear)
                granted = await self._ask_realm(conversation)
                self._authorization = f"Bearer {granted.value}"
                self._expires = time.monotonic() + granted.lifetime_seconds * 0.9
                return
            if challenge.scheme == "basic":
                if not self._credentials or not self._credentials.username:
                    raise Unauthorized(
                        f'{request.method.capitalize()} "{request.url}": no basic auth credentials'
                    )
                self._authorization = basic(self._credentials)
                self._expires = float("inf")
                return
        raise RegistryMisbehaved("registry asks for an unknown kind of authentication")

    async def _ask_realm(self, conversation: Conversation[_T]) -> _T:
        """A token realm is no registry: it never sees the registry's authorisation."""
        try:
            request = next(conversation)
            while True:
                request = conversation.send(await self._document(request))
        except StopIteration as end:
            result: _T = end.value
            return result


class _PassingError(Exception):
    def __init__(self, reason: RegistryError) -> None:
        super().__init__(reason)
        self.reason = reason


class Repository:
    """A session with one repository of one registry."""

    def __init__(self, reference: Reference, endpoints: list[Endpoint]) -> None:
        self.reference = reference
        self._endpoints = endpoints
        self._endpoint: Endpoint | None = None

    async def connect(self) -> None:
        """Settle on the first endpoint that answers. Raises what the last one failed with."""
        await self._first_that(_nothing)

    async def _first_that(self, attempt: Callable[[Endpoint], Awaitable[_T]]) -> _T:
        failure: TiffinError | None = None
        for endpoint in self._endpoints:
            try:
                await endpoint.ping()
                result = await attempt(endpoint)
            except TiffinError as error:
                failure = _worse(failure, error)
            else:
                self._endpoint = endpoint
                return result
        assert failure is not None
        raise failure

    async def _settled(self) -> Endpoint:
        if self._endpoint is None:
            await self.connect()
        assert self._endpoint is not None
        return self._endpoint

    # -- pulling -----------------------------------------------------------------------------

    async def resolve(self, platform: Platform) -> Resolved:
        """The manifest for `platform`. Raises NotFound and the rest in Docker's words."""

        async def attempt(endpoint: Endpoint) -> Resolved:
            conversation = protocol.resolve(endpoint.base, self.reference, platform)
            return await endpoint.converse(conversation)

        try:
            return await self._first_that(attempt)
        except RegistryError as error:
            raise pull_error(error, self.reference) from error

    async def describe(self) -> Described:
        async def attempt(endpoint: Endpoint) -> Described:
            return await endpoint.converse(protocol.describe(endpoint.base, self.reference))

        try:
            return await self._first_that(attempt)
        except RegistryError as error:
            raise pull_error(error, self.reference) from error

    async def tags(self) -> list[str]:
        try:
            endpoint = await self._settled()
            return await endpoint.converse(
                protocol.list_tags(endpoint.base, self.reference, endpoint.clear)
            )
        except RegistryError as error:
            raise pull_error(error, self.reference) from error

    async def fetch_blob(
        self, descriptor: Descriptor, sink: BlobSink, progress: Progress = _no_progress
    ) -> None:
        """Write the blob to `sink`, exactly its size. Raises RegistryMisbehaved, Unavailable."""
        endpoint = await self._settled()
        if descriptor.size == 0:
            return

        async def attempt() -> None:
            # What has arrived counts: only attempts that bring nothing use up patience.
            while sink.size < descriptor.size:
                before = sink.size
                try:
                    await self._fetch_rest(endpoint, descriptor, sink, progress)
                except Unavailable:
                    if sink.size == before:
                        raise

        try:
            await endpoint.persist(attempt)
        except RegistryError as error:
            raise pull_error(error, self.reference) from error

    async def read_document(self, descriptor: Descriptor) -> bytes:
        """A small blob's bytes, verified. Raises as `fetch_blob`."""
        sink = _Memory()
        await self.fetch_blob(descriptor, sink)
        if digest_of(sink.data) != descriptor.digest:
            raise RegistryMisbehaved(f"verification failed for digest {descriptor.digest}")
        return sink.data

    async def _fetch_rest(
        self, endpoint: Endpoint, descriptor: Descriptor, sink: BlobSink, progress: Progress
    ) -> None:
        offset = sink.size
        request = protocol.blob_request(endpoint.base, self.reference, descriptor.digest, offset)
        async with AsyncExitStack() as stack:
            reply = await endpoint.open(stack, request)
            if reply.head.status not in (200, 206):
                error = refusal(await reply.document())
                raise _PassingError(error) if error.http_status in _PASSING else error
            skip = protocol.bytes_to_skip(reply.head, offset, descriptor.size)
            await _pour(reply.chunks(), skip, sink, descriptor.size, progress)
        if sink.size < descriptor.size:
            raise Unavailable(f"download of {descriptor.digest} ended early: unexpected EOF")

    # -- pushing -----------------------------------------------------------------------------

    async def has_blob(self, digest: str) -> bool:
        endpoint = await self._settled()
        try:
            return await endpoint.converse(protocol.has_blob(endpoint.base, self.reference, digest))
        except RegistryError as error:
            raise push_error(error) from error

    async def push_blob(
        self,
        descriptor: Descriptor,
        source: Callable[[], BinaryIO],
        progress: Progress = _no_progress,
        *,
        mount_from: str = "",
    ) -> Upload:
        """Bring the blob there, by the least work. `source` opens its bytes, for each attempt."""
        endpoint = await self._settled()
        try:
            return await self._push_blob(endpoint, descriptor, source, progress, mount_from)
        except RegistryError as error:
            raise push_error(error) from error

    async def _push_blob(
        self,
        endpoint: Endpoint,
        descriptor: Descriptor,
        source: Callable[[], BinaryIO],
        progress: Progress,
        mount_from: str,
    ) -> Upload:
        digest = descriptor.digest
        if await endpoint.converse(protocol.has_blob(endpoint.base, self.reference, digest)):
            return Upload.EXISTED
        mount = (digest, mount_from) if mount_from else None

        async def attempt() -> Upload:
            location = await endpoint.converse(
                protocol.begin_upload(endpoint.base, self.reference, endpoint.clear, mount=mount)
            )
            if location is None:
                return Upload.MOUNTED
            await self._send_blob(endpoint, location, descriptor, source, progress)
            return Upload.SENT

        return await endpoint.persist(attempt)

    async def _send_blob(
        self,
        endpoint: Endpoint,
        location: str,
        descriptor: Descriptor,
        source: Callable[[], BinaryIO],
        progress: Progress,
    ) -> None:
        """Small ones in one request; others as Docker does: a PATCH with all bytes, then a PUT."""
        if descriptor.size > _MONOLITHIC_BYTES:
            request = Request("PATCH", location, _upload_headers(descriptor.size))
            response = await self._upload(endpoint, request, source, progress)
            location = protocol.upload_location(location, response, endpoint.clear)
            closing = Request(
                "PUT", protocol.committing(location, descriptor.digest), {"Content-Length": "0"}
            )
            response = await endpoint.send(closing)
            if not response.succeeded:
                raise refusal(response)
            return
        url = protocol.committing(location, descriptor.digest)
        request = Request("PUT", url, _upload_headers(descriptor.size))
        await self._upload(endpoint, request, source, progress)

    async def _upload(
        self,
        endpoint: Endpoint,
        request: Request,
        source: Callable[[], BinaryIO],
        progress: Progress,
    ) -> Response:
        async with AsyncExitStack() as stack:
            reply = await endpoint.open(stack, request, lambda: _read_out(source, progress))
            response = await reply.document()
        if response.status in _PASSING:
            raise _PassingError(refusal(response))
        if not response.succeeded:
            raise refusal(response)
        return response

    async def push_manifest(self, tag_or_digest: Reference, media_type: str, body: bytes) -> None:
        """Last of all: from here on others can pull it."""
        endpoint = await self._settled()
        try:
            await endpoint.converse(
                protocol.put_manifest(endpoint.base, tag_or_digest, media_type, body)
            )
        except RegistryError as error:
            raise push_error(error) from error


async def _nothing(_: Endpoint) -> None:
    pass


def _worse(first: TiffinError | None, second: TiffinError) -> TiffinError:
    """What to tell when no endpoint worked: an answer says more than an unreachable fallback."""
    if first is not None and not isinstance(first, Unavailable) and isinstance(second, Unavailable):
        return first
    return second


def _upload_headers(size: int) -> dict[str, str]:
    return {"Content-Type": "application/octet-stream", "Content-Length": str(size)}


async def _pour(
    chunks: AsyncIterator[bytes], skip: int, sink: BlobSink, limit: int, progress: Progress
) -> None:
    """From the line to the sink in large pieces, in a thread; what came is kept on failure."""
    held = bytearray()

    async def write() -> None:
        data = bytes(held)
        held.clear()
        if sink.size + len(data) > limit:
            raise RegistryMisbehaved(f"blob is longer than the {limit} bytes that were announced")
        await in_thread(sink.write, data)
        progress(sink.size)

    try:
        async for chunk in chunks:
            fresh = chunk[skip:]
            skip -= len(chunk) - len(fresh)
            held += fresh
            if len(held) >= _WRITE_BYTES:
                await write()
    except Unavailable:
        await write()
        raise
    await write()


async def _read_out(source: Callable[[], BinaryIO], progress: Progress) -> AsyncIterator[bytes]:
    file = await in_thread(source)
    sent = 0
    try:
        while data := await in_thread(file.read, _READ_BYTES):
            yield data
            sent += len(data)
            progress(sent)
    finally:
        file.close()
