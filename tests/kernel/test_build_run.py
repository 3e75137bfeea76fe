"""RUN: output, failures, stages side by side, and nothing left when the client goes away."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator

import pytest

from tests.fakes.buildbench import Bench, BuildOptions, chunks, tar_of
from tests.kernel.test_build_cache import bench_test
from tests.patience import patient

pytestmark = pytest.mark.root


@pytest.fixture
def directory() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tfn") as path:
        yield path


def test_output_comes_with_its_stream(directory: str) -> None:
    async def test(bench: Bench) -> None:
        outcome = await bench.build("FROM bb\nRUN echo out; sleep 0.1; echo err >&2\n")

        streams = [message.get("stream") for message in outcome.messages]
        assert "out\n" in streams
        assert "\x1b[91merr\n\x1b[0m" in streams
        assert outcome.text.startswith("Step 1/2 : FROM bb\n ---> ")

    bench_test(directory, test)


def test_a_failing_run_ends_the_build_with_its_code(directory: str) -> None:
    async def test(bench: Bench) -> None:
        outcome = await bench.build("FROM bb\nRUN exit 3\nRUN touch /never\n", tags=("t",))

        words = "The command '/bin/sh -c exit 3' returned a non-zero code: 3"
        assert outcome.messages[-1] == {
            "errorDetail": {"code": 3, "message": words},
            "error": words,
        }
        assert "t:latest" not in bench.images.by_name
        assert "Step 3/3" not in outcome.text

    bench_test(directory, test)


def test_a_run_that_changes_nothing_makes_no_layer(directory: str) -> None:
    async def test(bench: Bench) -> None:
        document = (await bench.build("FROM bb\nRUN true\n")).document

        assert document is not None
        assert len(document.rootfs.diff_ids) == 1
        assert document.history[-1].empty_layer

    bench_test(directory, test)


def test_mount_points_that_the_image_lacks_are_not_in_the_layer(directory: str) -> None:
    async def test(bench: Bench) -> None:
        text = "FROM bb\nRUN rmdir /proc /sys\nRUN touch /etc/made\n"
        document = (await bench.build(text)).document

        assert document is not None
        tree = bench.tree(document)
        assert "/etc/made" in tree
        assert {"/proc", "/sys", "/etc/hosts"}.isdisjoint(tree)
        assert tree["/etc"][0] == "0o40755"

    bench_test(directory, test)


def test_stages_run_side_by_side_and_are_told_in_order(directory: str) -> None:
    async def test(bench: Bench) -> None:
        text = (
            "FROM bb AS a\nRUN sleep 0.5; echo slow\nFROM bb AS b\nRUN echo fast\n"
            "FROM bb\nCOPY --from=a /bin/sh /a\nCOPY --from=b /bin/sh /b\n"
        )
        outcome = await bench.build(text)

        assert bench.runtime.most_at_once == 2
        assert outcome.text.index("slow\n") < outcome.text.index("fast\n")

    bench_test(directory, test)


def test_a_failure_in_a_later_stage_is_shown_and_stops_the_others(directory: str) -> None:
    async def test(bench: Bench) -> None:
        text = (
            "FROM bb AS a\nRUN sleep 1000\nFROM bb AS b\nRUN echo why; exit 4\n"
            "FROM bb\nCOPY --from=a / /a\nCOPY --from=b / /b\n"
        )
        outcome = await asyncio.wait_for(bench.build(text), patient(60))

        assert "why\n" in outcome.text
        assert outcome.error.endswith("returned a non-zero code: 4")

    bench_test(directory, test)


def test_a_client_that_goes_away_ends_the_step_and_leaves_nothing(directory: str) -> None:
    async def test(bench: Bench) -> None:
        context = tar_of({"Dockerfile": "FROM bb\nRUN sleep 1000\n"})
        messages = bench.builds.build(BuildOptions(), chunks(context))

        async def listen() -> None:
            async for _ in messages:
                pass

        task = asyncio.create_task(listen())
        await bench.runtime.started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await messages.aclose()

        assert bench.runtime.running == 0
        assert [network.released for network in bench.networks.given] == [1]

    bench_test(directory, test)


def test_closing_the_stream_early_ends_the_step_too(directory: str) -> None:
    async def test(bench: Bench) -> None:
        context = tar_of({"Dockerfile": "FROM bb\nRUN echo x; sleep 1000\n"})
        messages = bench.builds.build(BuildOptions(), chunks(context))
        async for message in messages:
            if message.get("stream") == "x\n":
                break
        await messages.aclose()

        assert bench.runtime.running == 0

    bench_test(directory, test)


def test_the_network_of_a_step_is_the_one_asked_for(directory: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.build("FROM bb\nRUN --network=none true\nRUN true\n")

        assert [config.network_mode for config in bench.networks.prepared] == ["none", "default"]

    bench_test(directory, test)


def test_two_builds_of_the_same_step_do_it_once(directory: str) -> None:
    async def test(bench: Bench) -> None:
        text = "FROM bb\nRUN sleep 0.3; date +%N > /when\n"
        first, second = await asyncio.gather(bench.build(text), bench.build(text))

        assert first.image_id == second.image_id
        assert len(bench.runtime.workloads) == 1

    bench_test(directory, test)


def test_triggers_of_a_base_run_after_from(directory: str) -> None:
    async def test(bench: Bench) -> None:
        await bench.build("FROM bb\nONBUILD COPY f /f\nONBUILD RUN cat /f\n", tags=("base",))
        outcome = await bench.build("FROM base\nRUN echo own\n", {"f": "given\n"})

        assert "# Executing 2 build triggers\n" in outcome.text
        assert outcome.text.index("given\n") < outcome.text.index("own\n")
        assert outcome.document is not None
        assert outcome.document.config is not None
        assert outcome.document.config.on_build is None

    bench_test(directory, test)
