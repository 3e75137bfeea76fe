"""What is recalled and what is done again."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.fakes.buildbench import Bench, BuildOptions, chunks, tar_of
from tiffin.errors import InvalidArgument, NotFound, Unsupported

pytestmark = pytest.mark.root

DOCKERFILE = "FROM bb\nENV A=b\nRUN echo ran\nCOPY src /src\nRUN cat /src/f\nCMD c\n"
FILES = {"src/f": "1", "other": "x"}


@pytest.fixture
def directory() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tfn") as path:
        yield path


def bench_test(directory: str, test: Callable[[Bench], Awaitable[Any]]) -> None:
    async def go() -> None:
        bench = Bench(directory)
        try:
            bench.add_busybox()
            await test(bench)
        finally:
            await bench.close()
            assert bench.left == []

    asyncio.run(go())


def test_a_second_build_is_recalled_whole_and_has_the_same_id(directory: str) -> None:
    async def test(bench: Bench) -> None:
        first = await bench.build(DOCKERFILE, FILES)
        second = await bench.build(DOCKERFILE, FILES)

        assert "Using cache" not in first.text
        assert second.text.count(" ---> Using cache\n") == 5
        assert second.image_id == first.image_id

    bench_test(directory, test)


def test_a_changed_file_redoes_its_copy_and_what_follows(directory: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.build(DOCKERFILE, FILES)
        changed = await bench.build(DOCKERFILE, {**FILES, "src/f": "2"})

        assert changed.cached_steps == [2, 3]

    bench_test(directory, test)


def test_a_file_that_is_not_copied_does_not_count(directory: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.build(DOCKERFILE, FILES)
        again = await bench.build(DOCKERFILE, {**FILES, "other": "y"})

        assert again.cached_steps == [2, 3, 4, 5, 6]

    bench_test(directory, test)


def test_a_changed_mode_counts(directory: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.build(DOCKERFILE, FILES)
        again = await bench.build(DOCKERFILE, {**FILES, "src/f": (0o755, "1")})

        assert again.cached_steps == [2, 3]

    bench_test(directory, test)


def test_nocache_does_everything_again(directory: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.build(DOCKERFILE, FILES)
        again = await bench.build(DOCKERFILE, FILES, no_cache=True)

        assert again.cached_steps == []

    bench_test(directory, test)


def test_a_build_argument_counts_where_it_is_declared(directory: str) -> None:
    async def test(bench: Bench) -> None:
        text = "FROM bb\nRUN echo 1\nARG V\nRUN echo $V\n"
        await bench.build(text, build_args={"V": "1"})
        again = await bench.build(text, build_args={"V": "2"})

        assert again.cached_steps == [2]

    bench_test(directory, test)


def test_a_proxy_does_not_count(directory: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.build("FROM bb\nRUN echo $http_proxy\n", build_args={"http_proxy": "1"})
        again = await bench.build("FROM bb\nRUN echo $http_proxy\n", build_args={"http_proxy": "2"})

        assert again.cached_steps == [2]

    bench_test(directory, test)


def test_a_rebuilt_stage_with_the_same_result_keeps_what_copies_from_it(directory: str) -> None:
    async def test(bench: Bench) -> None:
        text = (
            "FROM bb AS a\nRUN echo {0} >/junk; echo x >/f; touch -d @1 /f\n"
            "FROM bb\nCOPY --from=a /f /\n"
        )
        await bench.build(text.format(1))
        again = await bench.build(text.format(2))

        assert again.cached_steps == [4]

    bench_test(directory, test)


def test_another_owner_in_the_stage_counts(directory: str) -> None:
    async def test(bench: Bench) -> None:
        text = "FROM bb AS a\nRUN echo x >/f; chown {0} /f\nFROM bb\nCOPY --from=a /f /\n"
        await bench.build(text.format(1))
        again = await bench.build(text.format(2))

        assert again.cached_steps == []

    bench_test(directory, test)


def test_a_pruned_cache_recalls_nothing(directory: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.build(DOCKERFILE, FILES)
        deleted, _ = await bench.builds.prune()
        again = await bench.build(DOCKERFILE, FILES)

        assert len(deleted) == 5
        assert again.cached_steps == []

    bench_test(directory, test)


def test_with_an_epoch_the_same_context_builds_to_the_same_image(directory: str) -> None:
    async def test(bench: Bench) -> None:
        options: dict[str, Any] = {
            "build_args": {"SOURCE_DATE_EPOCH": "1700000000"},
            "no_cache": True,
        }
        text = "FROM bb\nRUN echo hi > /made\nCOPY src /new/src\nWORKDIR /w\n"
        first = await bench.build(text, FILES, **options)
        second = await bench.build(text, FILES, **options)

        assert first.image_id == second.image_id
        assert first.document is not None
        assert first.document.created == "2023-11-14T22:13:20Z"

    bench_test(directory, test)


def test_ignored_files_are_not_in_the_context(directory: str) -> None:
    async def test(bench: Bench) -> None:
        files = {
            ".dockerignore": "**/x\n!a/x\nDockerfile\nempty/*\n",
            "x": "1",
            "a/x": "2",
            "b/x": "3",
            "b/y": "4",
            "empty/z": "5",
        }
        outcome = await bench.build("FROM scratch\nCOPY . /\n", files)

        assert outcome.document is not None
        assert set(bench.tree(outcome.document)) == {
            "/.dockerignore", "/a", "/a/x", "/b", "/b/y", "/empty",
        }  # fmt: skip

    bench_test(directory, test)


def test_the_ignore_file_of_a_dockerfile_comes_first(directory: str) -> None:
    async def test(bench: Bench) -> None:
        files = {
            ".dockerignore": "b",
            "My.dockerignore": "a",
            "a": "",
            "b": "",
            "My": "FROM bb\nCOPY b /",
        }
        outcome = await bench.build("FROM nothing\n", files, dockerfile="My")

        assert outcome.image_id

    bench_test(directory, test)


@pytest.mark.parametrize(
    ("options", "files", "error", "words"),
    [
        ({"dockerfile": "nope"}, {}, Exception, "Cannot locate specified Dockerfile: nope"),
        ({"dockerfile": "../x"}, {}, Exception, "forbidden path outside the build context: ../x"),
        ({"dockerfile": "e"}, {"e": ""}, InvalidArgument, "cannot be empty"),
        ({"dockerfile": "l"}, {"l": ("link", "/etc/passwd")}, Exception, "Cannot locate"),
        ({"dockerfile": "d"}, {"d/x": "1"}, Exception, "Cannot locate"),
        ({"target": "x"}, {}, InvalidArgument, "could not be found"),
        ({"tags": ("UP",)}, {}, InvalidArgument, "must be lowercase"),
        ({"remote": "https://x"}, {}, Unsupported, "remote context"),
        ({"build_args": {"SOURCE_DATE_EPOCH": "x"}}, {}, InvalidArgument, "SOURCE_DATE_EPOCH"),
    ],
)
def test_a_bad_request_fails_before_the_first_message(
    directory: str,
    options: dict[str, Any],
    files: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    async def test(bench: Bench) -> None:
        context = tar_of({"Dockerfile": "FROM bb\n", **files})
        messages = bench.builds.build(BuildOptions(**options), chunks(context))
        with pytest.raises(error, match=words):
            await anext(messages)

    bench_test(directory, test)


def test_a_context_may_end_without_padding_but_not_inside_a_file(directory: str) -> None:
    # docker build -f of a file outside the context sends such an archive.
    async def test(bench: Bench) -> None:
        text = "FROM bb\n#" + "x" * 100
        whole = tar_of({"Dockerfile": text})

        async for _ in bench.builds.build(BuildOptions(), chunks(whole[: 512 + len(text)])):
            pass
        with pytest.raises(InvalidArgument, match="unexpected EOF"):
            await anext(bench.builds.build(BuildOptions(), chunks(whole[: 511 + len(text)])))

    bench_test(directory, test)


@pytest.mark.parametrize("data", [b"not a tar" * 200, b"\x1f\x8b\x08broken"])
def test_a_context_that_is_no_archive_is_refused(directory: str, data: bytes) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(InvalidArgument):
            await anext(bench.builds.build(BuildOptions(), chunks(data)))

    bench_test(directory, test)


def test_an_unknown_base_is_pulled_and_its_absence_said(directory: str) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(NotFound, match="pull access denied for nono"):
            await bench.build("FROM nono\n")

        assert bench.images.pulled == ["nono"]

    bench_test(directory, test)


def test_scratch_alone_is_no_image(directory: str) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(InvalidArgument, match="No image was generated"):
            await bench.build("FROM scratch\n")
        assert (await bench.build("FROM scratch\nCMD a\n")).image_id

    bench_test(directory, test)


def test_a_quiet_build_says_only_the_id(directory: str) -> None:
    async def test(bench: Bench) -> None:
        outcome = await bench.build("FROM bb\nRUN echo x\n", quiet=True)

        assert [str(m["stream"])[:7] for m in outcome.messages] == ["sha256:"]

    bench_test(directory, test)
