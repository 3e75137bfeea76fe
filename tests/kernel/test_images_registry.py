"""Images to and from a real registry: what travels, what is said, what is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest

from tests.imagebench import Bench, collected, statuses
from tests.registry_server import (
    PASSWORD,
    USER,
    RegistryServer,
    locked_registry_fixture,  # noqa: F401
    registry_fixture,  # noqa: F401
)
from tiffin.errors import NotFound, Unauthorized, Unavailable
from tiffin.registry.credentials import Credentials

pytestmark = pytest.mark.root


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


@pytest.fixture
def other() -> Iterator[Bench]:
    with Bench() as bench:
        yield bench


def test_an_image_comes_back_as_it_went(
    bench: Bench, other: Bench, registry: RegistryServer
) -> None:
    name = f"{registry.address}/app:1"
    image_id = bench.make(name, files={"a": b"x" * 3_000_000})
    bench.make_on(name, name, files={"b": b"b"})
    image_id = bench.run(bench.images.get(name)).id

    pushed = bench.push(name)
    pulled = other.pull(name)

    assert other.run(other.images.get(name)).id == image_id
    assert other.files(name) == {"a": b"x" * 3_000_000, "b": b"b"}
    digest = pushed[-1]["aux"]["Digest"]
    assert statuses(pushed)[0] == f"The push refers to repository [{registry.address}/app]"
    assert statuses(pushed).count("Preparing") == 2
    assert statuses(pushed).count("Pushed") == 2
    assert statuses(pushed)[-1] == f"1: digest: {digest} size: {pushed[-1]['aux']['Size']}"
    assert statuses(pulled)[0] == "Pulling from app"
    for words in ("Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"):
        assert statuses(pulled).count(words) == 2
    assert statuses(pulled)[-2:] == [
        f"Digest: {digest}",
        f"Status: Downloaded newer image for {name}",
    ]
    assert other.run(other.images.get(name)).repo_digests == (f"{registry.address}/app@{digest}",)


def test_a_second_push_and_pull_move_nothing(bench: Bench, registry: RegistryServer) -> None:
    name = f"{registry.address}/app:latest"
    bench.make(name)
    first = bench.push(name)

    again = bench.push(name)
    pulled = bench.pull(name)

    assert again[-1] == first[-1]
    assert "Layer already exists" in statuses(again)
    assert "Pushed" not in statuses(again)
    assert statuses(pulled)[-1] == f"Status: Image is up to date for {name}"
    assert "Pulling fs layer" not in statuses(pulled)


def test_a_pulled_image_is_pushed_with_the_manifest_that_it_came_with(
    bench: Bench, other: Bench, registry: RegistryServer
) -> None:
    name = f"{registry.address}/app:latest"
    bench.make(name)
    first = bench.push(name)
    other.pull(name)
    copy = f"{registry.address}/copy:latest"
    other.run(other.images.tag(name, f"{registry.address}/copy"))

    second = other.push(copy)

    assert second[-1]["aux"]["Digest"] == first[-1]["aux"]["Digest"]
    assert "Mounted from app" in statuses(second)


def test_a_pull_by_digest_finds_the_same_image_and_makes_no_tag(
    bench: Bench, other: Bench, registry: RegistryServer
) -> None:
    name = f"{registry.address}/app:latest"
    image_id = bench.make(name)
    digest = bench.push(name)[-1]["aux"]["Digest"]

    other.pull(f"{registry.address}/app@{digest}")

    image = other.run(other.images.get(f"{registry.address}/app@{digest}"))
    assert (image.id, image.tags) == (image_id, ())


def test_shared_layers_are_fetched_once(
    bench: Bench, other: Bench, registry: RegistryServer
) -> None:
    base, app = f"{registry.address}/base:latest", f"{registry.address}/app:latest"
    bench.make(base)
    bench.make_on(base, app, files={"more": b"more"})
    bench.push(base)
    bench.push(app)
    other.pull(base)

    pulled = other.pull(app)

    assert statuses(pulled).count("Already exists") == 1
    assert statuses(pulled).count("Pull complete") == 1


def test_two_pulls_at_a_time_share_the_work(
    bench: Bench, other: Bench, registry: RegistryServer
) -> None:
    name = f"{registry.address}/app:latest"
    image_id = bench.make(name, files={"a": b"a" * 5_000_000})
    bench.push(name)

    async def both() -> None:
        await asyncio.gather(*(collected(other.images.pull(name)) for _ in range(2)))

    other.run(both())

    assert other.run(other.images.get(name)).id == image_id


def test_a_push_of_all_tags_pushes_each(bench: Bench, registry: RegistryServer) -> None:
    repository = f"{registry.address}/app"
    bench.make(f"{repository}:1")
    bench.run(bench.images.tag(f"{repository}:1", repository, "2"))

    bench.push(repository)

    assert sorted(registry.tags("app")) == ["1", "2"]


@pytest.mark.parametrize("tag", ["app:none", "none:latest"])
def test_a_missing_manifest_is_told_in_the_words_of_docker(
    bench: Bench, registry: RegistryServer, tag: str
) -> None:
    bench.make(f"{registry.address}/app:1")
    bench.push(f"{registry.address}/app:1")
    name = f"{registry.address}/{tag}"

    with pytest.raises(NotFound) as failure:
        bench.pull(name)

    words = f"manifest for {name} not found: manifest unknown: manifest unknown"
    assert failure.value.message == words


def test_a_dead_registry_is_told_in_the_words_of_docker(
    bench: Bench, registry: RegistryServer
) -> None:
    registry.stop()
    name = f"{registry.address}/app:latest"
    bench.make(name)

    with pytest.raises(Unavailable) as failure:
        bench.pull(name)
    with pytest.raises(Unavailable) as refused:
        bench.push(name)

    words = (
        f'Get "http://{registry.address}/v2/": dial tcp {registry.address}: '
        "connect: connection refused"
    )
    assert (failure.value.message, refused.value.message) == (words, words)
    assert failure.value.status == 500


def test_a_push_of_what_is_not_here_is_told_in_the_words_of_docker(bench: Bench) -> None:
    bench.make("localhost:5000/app:1")

    with pytest.raises(NotFound) as no_tag:
        bench.push("localhost:5000/app:2")
    with pytest.raises(NotFound) as no_name:
        bench.push("localhost:5000/none:2")

    assert no_tag.value.message == "tag does not exist: localhost:5000/app:2"
    words = "An image does not exist locally with the tag: localhost:5000/none"
    assert no_name.value.message == words


def test_a_locked_registry_opens_for_its_user_only(
    bench: Bench,
    other: Bench,
    locked_registry: RegistryServer,
) -> None:
    name = f"{locked_registry.address}/app:latest"
    image_id = bench.make(name)
    ours = Credentials(USER, PASSWORD)

    bench.push(name, auth=ours)
    with pytest.raises(Unauthorized, match="no basic auth credentials"):
        other.pull(name)
    with pytest.raises(Unauthorized):
        other.pull(name, auth=Credentials(USER, "wrong"))
    other.pull(name, auth=ours)

    assert other.run(other.images.get(name)).id == image_id
    with pytest.raises(Unauthorized):
        other.run(other.images.login(locked_registry.address, USER, "wrong"))
    assert other.run(other.images.login(locked_registry.address, USER, PASSWORD)) == ""


def test_a_damaged_layer_leaves_nothing(
    bench: Bench, other: Bench, registry: RegistryServer
) -> None:
    name = f"{registry.address}/app:latest"
    bench.make(name, files={"a": b"a" * 100_000})
    bench.push(name)
    manifest = json.loads(
        registry.get(
            "/v2/app/manifests/latest", "application/vnd.docker.distribution.manifest.v2+json"
        )
    )
    path = registry.blob_path(manifest["layers"][0]["digest"])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(Exception, match="digest"):
        other.pull(name)

    assert other.is_bare()


def test_a_cancelled_pull_leaves_nothing(
    bench: Bench, other: Bench, registry: RegistryServer
) -> None:
    name = f"{registry.address}/app:latest"
    bench.make(name, files={"a": bytes(range(256)) * 40_000})
    bench.push(name)

    async def until_the_first_amount() -> None:
        messages = other.images.pull(name)
        async for message in messages:
            if message.get("progressDetail"):
                break
        await messages.aclose()

    other.run(until_the_first_amount())

    assert other.is_bare()
    other.pull(name)
    assert other.run(other.images.get(name)).tags == (name,)
