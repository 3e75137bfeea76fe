"""The distribution protocol on literals: challenges, tokens, manifests, uploads, errors."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core.image import OCI_INDEX, OCI_MANIFEST, Platform, digest_of
from tiffin.core.reference import parse
from tiffin.errors import NotFound, RegistryMisbehaved, TiffinError, Unauthorized
from tiffin.registry import protocol
from tiffin.registry.credentials import (
    Challenge,
    Credentials,
    credentials_for,
    parse_challenges,
    token,
)
from tiffin.registry.documents import decode_document
from tiffin.registry.messages import Headers, Request, Response, drive
from tiffin.registry.refusals import pull_error, push_error, refusal
from tiffin.registry.transport import Proxies
from tiffin.registry.trust import ClearText, follow, resolve_location

CLEAR = ClearText(frozenset({"plain.example", "10.0.0.0/8"}))
BASE = "https://reg.example"
APP = parse("reg.example/app:1")
CONFIG = {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": digest_of(b"{}"),
    "size": 2,
}


def manifest(**fields: object) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": []}
    return json.dumps(document | fields).encode()


def index(*platforms: tuple[str, str, str]) -> tuple[bytes, dict[str, bytes]]:
    bodies = {f"{a}{v}": manifest(annotations={"for": f"{o}/{a}/{v}"}) for o, a, v in platforms}
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": digest_of(bodies[f"{a}{v}"]),
            "size": len(bodies[f"{a}{v}"]),
            "platform": {"os": o, "architecture": a, "variant": v},
        }
        for o, a, v in platforms
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return json.dumps(document).encode(), {digest_of(b): b for b in bodies.values()}


# -- challenges --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="x"', [Challenge("basic", {"realm": "x"})]),
        (
            'Bearer realm="https://a/t",service="s",scope="repository:a:pull,push"',
            [
                Challenge(
                    "bearer",
                    {"realm": "https://a/t", "service": "s", "scope": "repository:a:pull,push"},
                )
            ],
        ),
        (
            'Basic realm="a \\"b\\"", Bearer realm=c',
            [Challenge("basic", {"realm": 'a "b"'}), Challenge("bearer", {"realm": "c"})],
        ),
        ("Negotiate", [Challenge("negotiate", {})]),
        ("", []),
    ],
)
def test_challenges_are_read(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header) == challenges


@given(st.text(max_size=200))
def test_any_header_gives_challenges_or_none(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()


def ask(realm: str, credentials: Credentials | None) -> Request:
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return Response(200, Headers(), b'{"access_token":"t","expires_in":300}')

    challenge = Challenge("bearer", {"realm": realm, "service": "s"})
    granted = drive(token(challenge, ("repository:app:pull",), credentials, CLEAR), answer)
    assert (granted.value, granted.lifetime_seconds) == ("t", 300)
    return asked[0]


def test_an_anonymous_token_is_asked_for_without_credentials() -> None:
    request = ask("https://auth.example/t?a=b", None)

    assert request.url == "https://auth.example/t?a=b&service=s&scope=repository%3Aapp%3Apull"
    assert request.headers == {}


def test_an_identity_token_is_exchanged() -> None:
    request = ask("https://auth.example/t", Credentials(identity_token="id"))

    assert request.method == "POST"
    assert b"grant_type=refresh_token" in request.body
    assert b"refresh_token=id" in request.body


@pytest.mark.parametrize(
    "realm", ["http://auth.example/t", "ftp://x/t", "", "https://", "http://plain.example.evil/t"]
)
def test_a_realm_in_clear_text_is_refused(realm: str) -> None:
    with pytest.raises(RegistryMisbehaved):
        ask(realm, Credentials("me", "secret"))


def test_a_realm_of_an_insecure_registry_may_be_clear_text() -> None:
    assert ask("http://plain.example/t", None).url.startswith("http://plain.example/t")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token":7}', b'{"token":"a b\\r\\nX: y"}'])
def test_an_answer_without_a_token_is_refused(body: bytes) -> None:
    conversation = token(Challenge("bearer", {"realm": "https://a/t"}), (), None, CLEAR)

    with pytest.raises(RegistryMisbehaved):
        drive(conversation, lambda _: Response(200, Headers(), body))


def header_of(**fields: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("source", "credentials"),
    [
        (None, None),
        ("", None),
        ("e30=", None),
        ("%%%", None),
        (header_of(username="u", password="p"), Credentials("u", "p")),
        (header_of(identitytoken="i"), Credentials(identity_token="i")),
        (Credentials("u", "p"), Credentials("u", "p")),
        ({"https://index.docker.io/v1/": Credentials("hub", "p")}, Credentials("hub", "p")),
        ({"other.example": Credentials("u", "p")}, None),
    ],
)
def test_credentials_come_in_many_forms(source: object, credentials: Credentials | None) -> None:
    assert credentials_for(source, "docker.io") == credentials


def test_a_secret_is_never_shown() -> None:
    assert "p4ss" not in repr(Credentials("u", "p4ss", "p4ss"))


# -- trust -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:80", True),
        ("[::1]:5000", True),
        ("plain.example:5000", True),
        ("10.1.2.3:5000", True),
        ("11.1.2.3:5000", False),
        ("localhost.evil.example", False),
        ("reg.example", False),
    ],
)
def test_clear_text_is_for_this_machine_and_the_named(address: str, allowed: bool) -> None:
    assert CLEAR.allows(address) is allowed


def test_credentials_stay_on_their_host() -> None:
    request = Request("GET", f"{BASE}/v2/x", {"Authorization": "Bearer t", "Range": "bytes=5-"})

    same = follow(request, "/elsewhere", CLEAR)
    other = follow(request, "https://cdn.example/y", CLEAR)
    port = follow(request, "https://reg.example:444/y", CLEAR)

    assert same.headers == request.headers
    assert other.headers == port.headers == {"Range": "bytes=5-"}


@pytest.mark.parametrize(
    "location",
    [
        "http://reg.example/x",
        "ftp://x/y",
        "https://user:pw@cdn.example/y",
        "https://cdn.example:99999/",
        "file:///etc/passwd",
        "https://cdn.example/\x00",
    ],
)
def test_a_strange_redirect_is_refused(location: str) -> None:
    with pytest.raises(RegistryMisbehaved):
        resolve_location(f"{BASE}/v2/", location, CLEAR)


def test_proxies_are_for_other_machines() -> None:
    proxies = Proxies(
        {"HTTPS_PROXY": "http://p:3128", "http_proxy": "p:3128", "NO_PROXY": ".corp, a.b:8080"}
    )

    assert proxies.of("https", "reg.example", 443) == "http://p:3128"
    assert proxies.of("http", "reg.example", 80) == "http://p:3128"
    assert proxies.of("http", "localhost", 5000) == ""
    assert proxies.of("https", "x.corp", 443) == ""
    assert proxies.of("https", "a.b", 8080) == ""
    assert proxies.of("https", "a.b", 443) == "http://p:3128"


# -- manifests ---------------------------------------------------------------------------------


def resolve(wanted: Platform, body: bytes, others: dict[str, bytes]) -> protocol.Resolved:
    def answer(request: Request) -> Response:
        name = request.url.rpartition("/")[2]
        return Response(200, Headers(), others.get(name, body))

    return drive(protocol.resolve(BASE, APP, wanted), answer)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (Platform("amd64", "linux"), "linux/amd64/"),
        (Platform("arm64", "linux", "v8"), "linux/arm64/"),
        (Platform("arm", "linux", "v7"), "linux/arm/v7"),
        (Platform("arm", "linux", "v6"), "linux/arm/v6"),
        (Platform("arm", "linux", "v8"), "linux/arm/v7"),
    ],
)
def test_an_index_leads_to_the_manifest_of_the_platform(wanted: Platform, chosen: str) -> None:
    body, others = index(
        ("unknown", "unknown", ""),
        ("linux", "arm", "v6"),
        ("linux", "arm", "v7"),
        ("linux", "arm64", ""),
        ("linux", "amd64", ""),
    )

    resolved = resolve(wanted, body, others)

    assert resolved.manifest.annotations == {"for": chosen}
    assert resolved.digest == digest_of(body)
    assert resolved.descriptor.digest == digest_of(resolved.manifest_bytes)


def test_a_platform_that_is_not_offered_is_told_in_the_words_of_docker() -> None:
    body, others = index(("linux", "amd64", ""))

    with pytest.raises(NotFound) as failure:
        resolve(Platform("s390x", "linux"), body, others)

    words = "no matching manifest for linux/s390x in the manifest list entries"
    assert failure.value.message == words


def test_a_manifest_with_another_digest_is_refused() -> None:
    body, others = index(("linux", "amd64", ""))
    spoiled = dict.fromkeys(others, manifest(annotations={"for": "others"}))

    with pytest.raises(RegistryMisbehaved, match="verification failed"):
        resolve(Platform("amd64", "linux"), body, spoiled)


@given(st.binary(max_size=300) | st.builds(manifest, layers=st.lists(st.text(max_size=5))))
def test_any_bytes_are_a_document_or_refused(data: bytes) -> None:
    try:
        decode_document(data, OCI_MANIFEST)
    except TiffinError:
        return


# -- errors ------------------------------------------------------------------------------------


def error(code: str, text: str, status: int) -> Response:
    body = json.dumps({"errors": [{"code": code, "message": text, "detail": None}]})
    return Response(status, Headers(), body.encode())


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (
            error("MANIFEST_UNKNOWN", "manifest unknown", 404),
            NotFound,
            "manifest for reg.example/app:1 not found: manifest unknown: manifest unknown",
        ),
        (
            error("DENIED", "requested access to the resource is denied", 403),
            NotFound,
            (
                "pull access denied for reg.example/app, repository does not exist or may require "
                "'docker login': denied: requested access to the resource is denied"
            ),
        ),
        (
            error("NAME_UNKNOWN", "repository name not known to registry", 404),
            NotFound,
            (
                "repository reg.example/app not found: name unknown: "
                "repository name not known to registry"
            ),
        ),
        (
            Response(401, Headers(), b""),
            Unauthorized,
            "unauthorized: authentication required",
        ),
        (
            Response(500, Headers(), b"<html>\x1b[31m"),
            RegistryMisbehaved,
            "received unexpected HTTP status: 500: <html> [31m",
        ),
    ],
)
def test_a_failed_pull_is_told_in_the_words_of_docker(
    response: Response, kind: type[TiffinError], words: str
) -> None:
    failure = pull_error(refusal(response), APP)

    assert (type(failure), failure.message) == (kind, words)


def test_a_refused_push_is_unauthorized() -> None:
    failure = push_error(refusal(error("DENIED", "no", 403)))

    assert (type(failure), failure.message) == (Unauthorized, "denied: no")


# -- blobs -------------------------------------------------------------------------------------


def test_a_mounted_blob_needs_no_upload() -> None:
    conversation = protocol.begin_upload(BASE, APP, CLEAR, mount=("sha256:x", "base"))
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return Response(201, Headers())

    assert drive(conversation, answer) is None
    assert asked[0].url == f"{BASE}/v2/app/blobs/uploads/?mount=sha256%3Ax&from=base"


def test_a_list_of_tags_goes_over_pages() -> None:
    pages = {
        f"{BASE}/v2/app/tags/list": (b'{"tags":["a"]}', '</v2/app/tags/list?last=a>; rel="next"'),
        f"{BASE}/v2/app/tags/list?last=a": (b'{"tags":["b"]}', ""),
    }

    def answer(request: Request) -> Response:
        body, link = pages[request.url]
        return Response(200, Headers({"link": link}), body)

    assert drive(protocol.list_tags(BASE, APP, CLEAR), answer) == ["a", "b"]
