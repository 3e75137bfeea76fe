"""The registry client against registries that break off, lie, or want our credentials."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from tests.fakes.registryserver import Answer, Asked, Running, Told, serving
from tests.fakes.sinks import MemorySink
from tiffin.core.image import OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, Platform
from tiffin.core.reference import parse
from tiffin.errors import RegistryMisbehaved, TiffinError, Unavailable
from tiffin.registry.client import RegistryClient, Repository
from tiffin.registry.credentials import Credentials

_T = TypeVar("_T")
AMD64 = Platform("amd64", "linux")
DATA = bytes(range(256)) * 8000
OURS = Credentials("me", "secret")


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


BLOB = Descriptor(OCI_LAYER, digest(DATA), len(DATA))
CONFIG = {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": digest(b"{}"),
    "size": 2,
}
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": []}
).encode()


def manifest(body: bytes = MANIFEST, kind: str = OCI_MANIFEST) -> Told:
    return Told(200, body, {"Content-Type": kind})


def with_ping(answer: Answer) -> Answer:
    return lambda asked: Told(200, b"{}") if asked.path == "/v2/" else answer(asked)


def talk(
    answer: Answer,
    work: Callable[[Repository, Running], Awaitable[_T]],
    credentials: Credentials | None = None,
) -> _T:
    async def whole() -> _T:
        async with serving(with_ping(answer)) as running:
            client = RegistryClient(environment={}, delays_seconds=(0, 0))
            repository = client.repository(parse(f"{running.address}/app:1"), credentials)
            try:
                return await asyncio.wait_for(work(repository, running), 30)
            finally:
                await client.aclose()

    return asyncio.run(whole())


def fetch(answer: Answer) -> tuple[MemorySink, list[Asked]]:
    async def work(repository: Repository, running: Running) -> tuple[MemorySink, list[Asked]]:
        sink = MemorySink()
        await repository.fetch_blob(BLOB, sink)
        return sink, running.asked

    return talk(answer, work)


def resolve(answer: Answer) -> object:
    return talk(answer, lambda repository, _: repository.resolve(AMD64))


def test_an_interrupted_download_goes_on_where_it_stopped() -> None:
    def answer(asked: Asked) -> Told:
        wanted = asked.headers.get("range")
        if wanted is None:
            return Told(200, DATA, cut=1_200_000)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        kept = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        return Told(206, DATA[start:], kept)

    sink, asked = fetch(answer)

    assert sink.data == DATA
    ranges = [request.headers.get("range") for request in asked if "/blobs/" in request.path]
    assert ranges == [None, "bytes=1200000-"]


def test_a_registry_without_ranges_is_read_again_from_the_start() -> None:
    cuts = iter([1_500_000, None])

    sink, _ = fetch(lambda _: Told(200, DATA, cut=next(cuts)))

    assert sink.data == DATA


def test_a_wrong_range_is_refused() -> None:
    def answer(asked: Asked) -> Told:
        if "range" not in asked.headers:
            return Told(200, DATA, cut=1_200_000)
        return Told(206, DATA, {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"})

    with pytest.raises(RegistryMisbehaved, match="another range"):
        fetch(answer)


def test_a_registry_that_always_breaks_off_is_given_up() -> None:
    with pytest.raises(Unavailable):
        fetch(lambda _: Told(200, DATA, cut=0))


def test_passing_failures_are_tried_again() -> None:
    answers = iter([Told(503), Told(429), Told(200, DATA)])

    sink, _ = fetch(lambda _: next(answers))

    assert sink.data == DATA


def test_a_blob_that_is_longer_than_announced_is_refused() -> None:
    with pytest.raises(RegistryMisbehaved, match="instead of"):
        fetch(lambda _: Told(200, DATA + b"more"))


def test_an_endless_manifest_is_refused() -> None:
    with pytest.raises(RegistryMisbehaved, match="larger than"):
        resolve(lambda _: manifest(b" " * 6_000_000))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (manifest(b"{"), "invalid manifest"),
        (manifest(b"[]"), "invalid manifest"),
        (manifest(MANIFEST, OCI_INDEX), "was announced as"),
        (manifest(MANIFEST[:-1] + b',"manifests":[]}'), "both layers and manifests"),
        (manifest(b'{"schemaVersion":1,"fsLayers":[]}', "application/json"), "schema 1"),
        (
            manifest(MANIFEST, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
            "schema 1",
        ),
        (manifest(MANIFEST.replace(b"sha256:", b"md5:")), "invalid descriptor"),
        (manifest(MANIFEST.replace(b'"size": 2', b'"size": -2')), "invalid descriptor"),
        (manifest(MANIFEST.replace(b"image.config", b"helm.config")), "unsupported config"),
        (
            Told(200, MANIFEST, {"Docker-Content-Digest": digest(b"other")}),
            "verification failed",
        ),
    ],
)
def test_a_manifest_that_cannot_be_believed_is_refused(told: Told, words: str) -> None:
    with pytest.raises(RegistryMisbehaved, match=words):
        resolve(lambda _: told)


def test_an_index_cannot_lead_elsewhere() -> None:
    entry = {"mediaType": OCI_MANIFEST, "digest": "sha256:../../x", "size": 1}
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})

    with pytest.raises(RegistryMisbehaved, match="invalid descriptor"):
        resolve(lambda _: manifest(index.encode(), OCI_INDEX))


# -- credentials -------------------------------------------------------------------------------


def challenged(asked: Asked, realm: str) -> Told:
    header = f'Bearer realm="{realm}",service="tests",scope="repository:app:pull"'
    return Told(401, b"{}", {"WWW-Authenticate": header})


def test_a_token_is_fetched_with_the_credentials_and_sent_instead_of_them() -> None:
    async def work() -> tuple[list[Asked], list[Asked]]:
        async with serving(lambda _: Told(200, b'{"token":"t0ken"}')) as realm:

            def answer(asked: Asked) -> Told:
                if asked.headers.get("authorization") != "Bearer t0ken":
                    return challenged(asked, f"http://{realm.address}/token")
                return manifest()

            async with serving(answer) as running:
                client = RegistryClient(environment={}, delays_seconds=())
                repository = client.repository(parse(f"{running.address}/app:1"), OURS)
                await repository.resolve(AMD64)
                await client.aclose()
                return realm.asked, running.asked

    realm, asked = asyncio.run(work())

    assert [request.path for request in realm] == [
        "/token?service=tests&scope=repository%3Aapp%3Apull&account=me"
    ]
    assert realm[0].headers["authorization"].startswith("Basic ")
    assert {request.headers.get("authorization") for request in asked} == {None, "Bearer t0ken"}


def test_a_token_realm_in_clear_text_gets_nothing() -> None:
    async def work(repository: Repository, _: Running) -> object:
        return await repository.resolve(AMD64)

    with pytest.raises(RegistryMisbehaved, match="refused to send credentials"):
        talk(lambda asked: challenged(asked, "http://192.0.2.1/token"), work, OURS)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_credentials_do_not_follow_a_redirect_to_another_host(status: int) -> None:
    async def work() -> tuple[bytes, list[Asked], list[Asked]]:
        async with serving(lambda _: Told(200, DATA)) as elsewhere:

            def answer(asked: Asked) -> Told:
                if "authorization" not in asked.headers:
                    return Told(401, b"{}", {"WWW-Authenticate": 'Basic realm="tests"'})
                if asked.path == "/v2/":
                    return Told(200)
                return Told(status, b"", {"Location": f"http://{elsewhere.address}/storage"})

            async with serving(answer) as running:
                client = RegistryClient(environment={}, delays_seconds=())
                repository = client.repository(parse(f"{running.address}/app:1"), OURS)
                sink = MemorySink()
                await repository.fetch_blob(BLOB, sink)
                await client.aclose()
                return sink.data, running.asked, elsewhere.asked

    data, asked, elsewhere = asyncio.run(work())

    assert data == DATA
    assert "authorization" in asked[-1].headers
    assert "authorization" not in elsewhere[0].headers


def test_a_redirected_host_cannot_ask_for_credentials() -> None:
    async def work() -> list[Asked]:
        async with serving(lambda _: Told(200, b'{"token":"t"}')) as thief:
            challenge = {"WWW-Authenticate": f'Bearer realm="http://{thief.address}/t"'}
            async with serving(lambda _: Told(401, b"{}", challenge)) as elsewhere:

                def answer(asked: Asked) -> Told:
                    return Told(307, b"", {"Location": f"http://{elsewhere.address}/x"})

                async with serving(with_ping(answer)) as running:
                    client = RegistryClient(environment={}, delays_seconds=())
                    repository = client.repository(parse(f"{running.address}/app:1"), OURS)
                    with pytest.raises(TiffinError):
                        await repository.fetch_blob(BLOB, MemorySink())
                    await client.aclose()
                    return thief.asked

    assert asyncio.run(work()) == []


def test_a_redirect_to_clear_text_elsewhere_is_refused() -> None:
    with pytest.raises(RegistryMisbehaved, match="clear text"):
        fetch(lambda _: Told(307, b"", {"Location": "http://192.0.2.1/blob"}))


def test_redirects_come_to_an_end() -> None:
    with pytest.raises(RegistryMisbehaved, match="redirects"):
        fetch(lambda asked: Told(307, b"", {"Location": asked.path}))


# -- pushing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 300_000])
def test_a_blob_is_sent_whole_and_closed_with_its_digest(size: int) -> None:
    data = DATA[:size]
    got: dict[str, bytes] = {}

    def answer(asked: Asked) -> Told:
        if asked.method == "HEAD":
            return Told(404)
        if asked.method == "POST":
            return Told(202, b"", {"Location": "/upload/1?state=a%2Fb"})
        got[f"{asked.method} {asked.path}"] = asked.body
        location = {"Location": "/upload/1?state=c"}
        return Told(201 if asked.method == "PUT" else 202, b"", location)

    async def work(repository: Repository, _: Running) -> object:
        blob = Descriptor(OCI_LAYER, digest(data), len(data))
        return await repository.push_blob(blob, lambda: io.BytesIO(data))

    talk(answer, work)

    query = "digest=" + digest(data).replace(":", "%3A")
    if size == 100:
        assert got == {f"PUT /upload/1?state=a%2Fb&{query}": data}
    else:
        assert got == {
            "PATCH /upload/1?state=a%2Fb": data,
            f"PUT /upload/1?state=c&{query}": b"",
        }


def test_an_upload_that_breaks_off_is_begun_again() -> None:
    tries = iter([Told(500), Told(202, b"", {"Location": "/upload/2"})])

    def answer(asked: Asked) -> Told:
        if asked.method == "HEAD":
            return Told(404)
        if asked.method == "POST":
            return Told(202, b"", {"Location": "/upload/1"})
        return next(tries) if asked.method == "PATCH" else Told(201)

    async def work(repository: Repository, running: Running) -> list[str]:
        await repository.push_blob(BLOB, lambda: io.BytesIO(DATA))
        return [request.method for request in running.asked if request.method != "GET"]

    assert talk(answer, work) == ["HEAD", "POST", "PATCH", "POST", "PATCH", "PUT"]
