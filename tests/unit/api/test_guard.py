"""A TCP door lets no browser in that was talked into connecting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiffin.api.guard import Guard, names_this_machine
from tiffin.api.messages import Query, Request, Response


class Open:
    def identity(self, request: Request) -> list[tuple[str, str]]:
        return []

    def outlives_client(self, request: Request) -> bool:
        return True

    def outlives_input(self, request: Request) -> bool:
        return True

    async def answer(self, request: Request) -> Response:
        return Response(200)


def status(headers: dict[str, str], *, any_name: bool = False) -> int:
    nothing: Any = None
    request = Request("GET", "/_ping", Query(""), headers, nothing, nothing)
    answer = asyncio.run(Guard(Open(), any_name=any_name).answer(request))
    assert isinstance(answer, Response)
    return answer.status


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:2375", "127.0.0.1:1", "[::1]:5", "api.moby.localhost"]
)
def test_loopback_by_its_own_names_is_this_machine(host: str) -> None:
    assert names_this_machine(host)
    assert status({"host": host}) == 200
    assert status({"host": host, "origin": f"http://{host}"}) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:2375", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]"]
)
def test_any_other_name_may_have_been_bent_to_loopback(host: str) -> None:
    assert not names_this_machine(host)
    assert status({"host": host}) == 403


def test_a_page_from_elsewhere_is_refused_even_with_a_certificate() -> None:
    headers = {"host": "docker.example:2376", "origin": "https://evil.example"}
    assert status(headers, any_name=True) == 403
    assert status({"host": "docker.example:2376"}, any_name=True) == 200
