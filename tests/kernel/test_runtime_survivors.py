"""Shims of other releases, shims that hang, shims and zygotes that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.shim import FakeShim
from tests.kernel.runtime_bench import Bench, opened
from tests.patience import patient
from tiffin.core.container import HostConfig
from tiffin.core.workload import Attachment, Created, ExecProcess, Exit
from tiffin.errors import Conflict, Unavailable
from tiffin.kernel import syscalls
from tiffin.runtime import client, connection, shims, zygoteclient
from tiffin.runtime.client import Runtime
from tiffin.runtime.survivors import Process

pytestmark = pytest.mark.root

Act = Callable[[Bench], Awaitable[None]]
CHECKOUT = Path(__file__).resolve().parents[2]
OLD = "ab" * 32
FIRST_RELEASE = ("start", "attach", "exec", "resize", "kill", "remove", "state")


def on_bench(act: Act) -> None:
    async def main() -> None:
        async with opened() as bench:
            await act(bench)

    asyncio.run(main())


async def new_daemon(bench: Bench) -> None:
    await bench.runtime.close()
    await bench.open()


def shim_of(created: Created) -> int:
    pid = Process(created.pid, created.start_ticks).shim()
    assert pid
    return pid


class Doomed:
    """Processes that are about to end, held by descriptors, so that none is mistaken."""

    def __init__(self, *pids: int) -> None:
        self._handles = [os.pidfd_open(pid) for pid in pids]

    async def gone(self) -> None:
        loop = asyncio.get_running_loop()
        for handle in self._handles:
            ended = asyncio.Event()
            loop.add_reader(handle, ended.set)
            async with asyncio.timeout(patient(30)):
                await ended.wait()
            loop.remove_reader(handle)
            os.close(handle)


def process(exec_id: str) -> ExecProcess:
    return ExecProcess(exec_id, ("true",), ("PATH=/bin",), "/", "")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if os.path.exists(f"/proc/{pid}"):
            os.kill(pid, signal.SIGCONT)


# --- shims of other releases --------------------------------------------------------------------


def test_a_shim_of_the_first_protocol_is_taken_over() -> None:
    async def act(bench: Bench) -> None:
        with FakeShim(f"{bench.directory}/run/{OLD}", 1, FIRST_RELEASE) as shim:
            found = await bench.runtime.reconnect(OLD)
            assert isinstance(found, Created)
            assert found.pid == shim.process.pid
            assert await bench.runtime.exec(OLD, process("e1"), None, Attachment()) == 4711
            await bench.runtime.kill(OLD, 15)
            ended = await bench._exit(OLD, "")
            assert (ended.exit_code, ended.signal) == (143, 15)
            assert shim.asked == ["exec", "kill"]
            await bench.runtime.remove(OLD)

    on_bench(act)


@pytest.mark.parametrize("protocol", [99, "three", None])
def test_a_shim_of_an_unknown_protocol_runs_on_and_can_be_ended(
    protocol: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(bench: Bench) -> None:
        with FakeShim(f"{bench.directory}/run/{OLD}", protocol, ("kill", "remove")) as shim:
            assert isinstance(await bench.runtime.reconnect(OLD), Created)
            assert "shim of another release" in caplog.text
            with pytest.raises(Conflict, match="no exec until it is started again"):
                await bench.runtime.exec(OLD, process("e1"), None, Attachment())
            with pytest.raises(Conflict, match="no resize until"):
                await bench.runtime.resize(OLD, "", 24, 80)
            await bench.runtime.kill(OLD, 15)
            assert (await bench._exit(OLD, "")).exit_code == 143
            assert shim.asked == ["kill"]
            await bench.runtime.remove(OLD)

    on_bench(act)


def test_what_an_unknown_shim_refuses_the_kernel_does() -> None:
    async def act(bench: Bench) -> None:
        with FakeShim(f"{bench.directory}/run/{OLD}", 99, ()) as shim:
            assert isinstance(await bench.runtime.reconnect(OLD), Created)
            await bench.runtime.kill(OLD, 15)
            assert shim.process.wait(patient(30)) == -15
            await bench.runtime.remove(OLD)

    on_bench(act)


# --- shims that hang ----------------------------------------------------------------------------


def test_a_shim_that_hangs_keeps_nobody_waiting_but_those_who_ask_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act(bench: Bench) -> None:
        hung, well = bench.workload("sleep", "1000"), bench.workload("sleep", "1000")
        created = await bench.start(hung)
        await bench.start(well)
        with stopped(shim_of(created)):
            monkeypatch.setattr(connection, "REQUEST_DEADLINE_SECONDS", patient(2))
            asked = asyncio.create_task(bench.runtime.resize(hung.id, "", 24, 80))
            code, peer = await bench.exec(well, "echo", "hi")
            assert code
            assert peer is not None
            assert (await peer.frames())[1] == b"hi\n"
            assert (await bench.run("echo", "new"))[1] == "new\n"
            assert created.pid in await bench.runtime.pids(hung.id)
            with pytest.raises(Unavailable, match=f"the shim of container {hung.id} does not"):
                await asked

    on_bench(act)


def test_a_new_daemon_believes_the_record_of_a_shim_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act(bench: Bench) -> None:
        monkeypatch.setattr(shims, "HELLO_DEADLINE_SECONDS", 0.2)
        workload = bench.workload("sleep", "1000")
        created = await bench.start(workload)
        await bench.runtime.close()
        with stopped(shim_of(created)):
            await bench.open()
            assert await bench.runtime.reconnect(workload.id) == created
            await bench.runtime.serving()
        _code, peer = await bench.exec(workload, "echo", "awake")
        assert peer is not None
        assert (await peer.frames())[1] == b"awake\n"

    on_bench(act)


def test_what_ended_behind_a_hanging_shim_is_told_when_it_wakes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def act(bench: Bench) -> None:
        monkeypatch.setattr(shims, "HELLO_DEADLINE_SECONDS", 0.2)
        workload = bench.workload("sh", "-c", "trap 'exit 7' TERM; echo up; sleep 1000 & wait")
        created = await bench.start(workload)
        peer = await bench.attach(workload)
        if "up" not in bench.log(workload):
            await peer.read_until(b"up")
        await bench.runtime.close()
        with stopped(shim_of(created)):
            await bench.open()
            assert await bench.runtime.reconnect(workload.id) == created
            await bench.runtime.serving()
            os.kill(created.pid, signal.SIGTERM)
        assert (await bench.ended(workload)).exit_code == 7
        peer.socket.close()

    on_bench(act)


def test_sigkill_needs_no_shim_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "1000")
        created = await bench.start(workload)
        monkeypatch.setattr(connection, "REQUEST_DEADLINE_SECONDS", 0.2)
        with stopped(shim_of(created)):
            await bench.runtime.kill(workload.id, 9)
            ended = await bench.ended(workload)
        assert (ended.exit_code, ended.shim_died) == (137, True)

    on_bench(act)


# --- who is killed ------------------------------------------------------------------------------


@pytest.mark.parametrize("pid_mode", ["", "host"])
def test_a_container_does_not_outlive_its_shim(
    pid_mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload(
            "sh", "-c", "sleep 1000 & wait", host=HostConfig(pid_mode=pid_mode)
        )
        created = await bench.start(workload)
        members = Doomed(*await bench.runtime.pids(workload.id))
        Path(bench.directory, "run", workload.id, "shim.log").write_text("its last words")
        os.kill(shim_of(created), signal.SIGKILL)
        ended = await bench.ended(workload)
        assert (ended.exit_code, ended.signal, ended.shim_died) == (137, 9, True)
        await members.gone()
        assert "its last words" in caplog.text
        await bench.runtime.remove(workload.id)

    on_bench(act)


def test_a_shim_killed_without_a_daemon_is_told_to_the_next() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "1000", user="1:1")  # a change of ids, in between
        created = await bench.start(workload)
        shim = shim_of(created)
        await bench.runtime.close()
        doomed, member = Doomed(shim), Doomed(created.pid)
        os.kill(shim, signal.SIGKILL)
        await doomed.gone()
        await member.gone()  # with its shim, and nobody there to see to it
        await bench.open()
        found = await bench.runtime.reconnect(workload.id)
        assert isinstance(found, Exit)
        assert (found.exit_code, found.shim_died) == (137, True)

    on_bench(act)


def test_half_written_records_are_as_if_they_were_not_there() -> None:
    async def act(bench: Bench) -> None:
        directory = f"{bench.directory}/run/{OLD}"
        os.makedirs(directory)
        for name, text in (("exit.json", ""), ("state.json", '{"pid": 1, "start_ti')):
            _write(f"{directory}/{name}", text)
        assert await bench.runtime.reconnect(OLD) is None
        await bench.runtime.remove(OLD)

    on_bench(act)


def test_the_record_of_another_boot_is_not_believed() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("true")
        await bench.start(workload)
        await bench.ended(workload)
        directory = f"{bench.directory}/run/{workload.id}"
        await bench.runtime.close()
        for path in (f"{directory}/exit.json", f"{directory}/state.json"):
            _write(path, _read(path).replace(syscalls.boot_id(), "another"))
        await bench.open()
        assert await bench.runtime.reconnect(workload.id) is None

    on_bench(act)


def test_a_zygote_whose_daemon_has_gone_meanwhile_ends_without_a_word() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.close()
    with theirs:
        words = [zygoteclient.BOOT, str(CHECKOUT), str(theirs.fileno())]
        command = [sys.executable, "-I", "-S", "-c", *words]
        ended = subprocess.run(
            command, pass_fds=[theirs.fileno()], capture_output=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_killed_zygote_is_replaced() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "1000")
        created = await bench.start(workload)
        assert bench.runtime._zygote.process is not None
        bench.runtime._zygote.process.kill()
        assert (await bench.run("echo", "hi"))[1] == "hi\n"
        assert Process(created.pid, created.start_ticks).is_alive()

    on_bench(act)


def test_a_runtime_opens_though_its_zygote_is_killed_meanwhile() -> None:
    """Whether it has been told of, or not even come to its first word."""

    async def act(bench: Bench) -> None:
        await new_runtime(bench)
        bench.runtime.launch()
        zygote = bench.runtime._zygote.process
        assert zygote is not None
        zygote.kill()
        zygote.wait()
        await bench.runtime.open()
        assert bench.runtime.user_namespaces_refusal == ""
        await new_runtime(bench)
        bench.runtime.launch()
        ask = bench.runtime._zygote.ask

        async def of_a_dying_one(*arguments: object) -> object:
            zygote = bench.runtime._zygote.process
            assert zygote is not None
            await bench.runtime._zygote._ensure()
            zygote.kill()
            zygote.wait()
            bench.runtime._zygote.ask = ask  # type: ignore[method-assign]
            return await ask(*arguments)  # type: ignore[arg-type]

        bench.runtime._zygote.ask = of_a_dying_one  # type: ignore[assignment]
        await bench.runtime.open()
        assert bench.runtime.user_namespaces_refusal == ""

    on_bench(act)


def test_a_probe_that_was_killed_does_not_say_that_there_are_no_user_namespaces() -> None:
    """Else the next containers would have the host's ids, and nobody would know why."""

    async def act(bench: Bench) -> None:
        await new_runtime(bench)
        ask, asked = bench.runtime._zygote.ask, []

        async def of_one_that_dies(*arguments: object) -> object:
            connection, answer = await ask(*arguments)  # type: ignore[arg-type]
            if not asked:
                connection.close()
            asked.append(arguments)
            return connection, answer

        bench.runtime._zygote.ask = of_one_that_dies  # type: ignore[assignment]
        await bench.runtime.open()
        assert len(asked) == 2
        assert bench.runtime.facts.user_namespaces

    on_bench(act)


async def new_runtime(bench: Bench) -> None:
    """In the place of the bench's own, not open yet."""
    await bench.runtime.close()
    directory = bench.directory
    bench.runtime = Runtime(f"{directory}/run", bench.name, probe_directory=directory)


def test_a_zygote_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(bench: Bench) -> None:
        assert bench.runtime._zygote.process is not None
        os.kill(bench.runtime._zygote.process.pid, signal.SIGSTOP)
        monkeypatch.setattr(client, "CREATE_DEADLINE_SECONDS", 0.5)
        with pytest.raises(Unavailable):
            await bench.runtime.create(bench.workload("true"))
        monkeypatch.undo()
        assert (await bench.run("echo", "hi"))[1] == "hi\n"

    on_bench(act)


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
