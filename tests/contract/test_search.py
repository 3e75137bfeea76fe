"""Searches in registries that answer, lie, or are not there."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from tests.fakes.registryserver import Answer, Asked, Running, Told, serving
from tiffin.errors import InvalidArgument, RegistryMisbehaved
from tiffin.registry.client import RegistryClient
from tiffin.registry.credentials import Credentials
from tiffin.registry.messages import Headers, Response
from tiffin.registry.search import SearchResult, request_of, results_of, search, split_term

FOUND = {"name": "me/app", "description": None, "star_count": 7, "is_official": False, "odd": []}


def searched(
    answer: Answer, term: str = "app", limit: int = 0
) -> tuple[tuple[SearchResult, ...], Running]:
    async def scene() -> tuple[tuple[SearchResult, ...], Running]:
        async with serving(answer) as running:
            client = RegistryClient(environment={})
            try:
                found = await search(client, f"{running.address}/{term}", limit, None)
            finally:
                await client.aclose()
            return found, running

    return asyncio.run(scene())


def told(asked: Asked) -> Told:
    if asked.path == "/v1/_ping":
        return Told(404)
    return Told(200, json.dumps({"num_results": 1, "results": [FOUND]}).encode())


def test_a_registry_in_the_term_is_asked_in_clear_text_where_it_may_be() -> None:
    found, running = searched(told, "me/a b&c", 3)
    assert found == (SearchResult("me/app", "", 7),)
    assert [asked.path for asked in running.asked][-2:] == [
        "/v1/_ping",
        "/v1/search?q=me%2Fa+b%26c&n=3",
    ]
    assert running.asked[-1].headers["x-docker-token"] == "true"


def test_a_redirect_is_followed() -> None:
    def answer(asked: Asked) -> Told:
        if asked.path.startswith("/v1/search"):
            return Told(301, headers={"Location": "/elsewhere"})
        return told(asked)

    assert [one.name for one in searched(answer)[0]] == ["me/app"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Told(404, b"no"), "Unexpected status code 404"),
        (Told(200, b"{"), "error decoding registry search results"),
        (Told(200, b'{"results": 5}'), "error decoding registry search results"),
        (Told(301, headers={"Location": "/v1/search"}), "stopped after 10 redirects"),
    ],
)
def test_what_a_registry_gets_wrong_is_told(reply: Told, words: str) -> None:
    def answer(asked: Asked) -> Told:
        return reply if asked.path.startswith("/v1/search") else Told(200)

    with pytest.raises(RegistryMisbehaved, match=words):
        searched(answer)


def test_a_registry_that_is_not_there_is_named_with_both_attempts() -> None:
    async def scene() -> None:
        client = RegistryClient(environment={})
        try:
            await search(client, "localhost:1/app", 0, None)
        finally:
            await client.aclose()

    with pytest.raises(InvalidArgument) as caught:
        asyncio.run(scene())
    assert caught.value.message.startswith(
        'invalid registry endpoint "http://localhost:1/v1/". HTTPS attempt: '
        'Get "https://localhost:1/v1/_ping": dial tcp'
    )
    assert '. HTTP attempt: Get "http://localhost:1/v1/_ping": dial tcp' in caught.value.message


@pytest.mark.parametrize(
    ("term", "parts"),
    [
        ("app", ("docker.io", "app")),
        ("library/app", ("docker.io", "app")),
        ("me/app", ("docker.io", "me/app")),
        ("docker.io/library/app", ("docker.io", "app")),
        ("index.docker.io/app", ("docker.io", "app")),
        ("localhost/app", ("localhost", "app")),
        ("reg.example:5000/me/app", ("reg.example:5000", "me/app")),
        ("", ("docker.io", "")),
    ],
)
def test_a_term_is_of_docker_hub_unless_it_begins_with_a_registry(
    term: str, parts: tuple[str, str]
) -> None:
    assert split_term(term) == parts


@pytest.mark.parametrize("term", ["https://reg.example/app", "a b:c/app", "reg.example:99999/x"])
def test_what_is_no_registry_is_refused(term: str) -> None:
    with pytest.raises(InvalidArgument):
        split_term(term)


@pytest.mark.parametrize("limit", [-1, 101])
def test_a_limit_has_its_range(limit: int) -> None:
    with pytest.raises(InvalidArgument, match="is outside the range of \\[1, 100\\]"):
        request_of("https://reg.example", "app", limit, None)


def test_credentials_are_not_sent_in_clear_text() -> None:
    ours = Credentials("me", "secret")
    secret = base64.b64encode(b"me:secret").decode()
    sent = request_of("https://reg.example", "app", 0, ours)
    assert sent.url == "https://reg.example/v1/search?q=app&n=25"
    assert sent.headers["Authorization"] == f"Basic {secret}"
    assert "Authorization" not in request_of("http://reg.example", "app", 0, ours).headers


def test_no_results_are_none() -> None:
    assert results_of(Response(200, Headers(), b'{"results": null}')) == ()
