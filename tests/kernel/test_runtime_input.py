"""What clients send to a container, and how they are parted with, on the real kernel."""

from __future__ import annotations

import pytest

from tests.kernel.runtime_bench import Bench
from tests.kernel.test_runtime_containers import on_bench
from tiffin.core.workload import Attachment

pytestmark = pytest.mark.root


def test_whose_input_ends_first_ends_that_of_all() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("cat", open_stdin=True, stdin_once=True)
        await bench.runtime.create(workload)
        first, second = await bench.attach(workload), await bench.attach(workload)
        await bench.runtime.start(workload.id)
        await second.write(b"two\n")
        await first.read_until(b"two\n")
        first.end_input()
        assert (await second.frames())[1] == b"two\n"
        assert (await bench.ended(workload)).exit_code == 0

    on_bench(act)


@pytest.mark.parametrize("attachment", [Attachment(stdout=True), Attachment(stdin=True)])
def test_a_client_whose_input_nobody_reads_sees_an_end_and_no_reset(
    attachment: Attachment,
) -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "exec sleep 0.1", open_stdin=attachment.stdin)
        await bench.runtime.create(workload)
        peer = await bench.attach(workload, attachment)
        await peer.write(b"x" * 150_000)
        await bench.runtime.start(workload.id)
        assert await peer.read() == b""

    on_bench(act)
