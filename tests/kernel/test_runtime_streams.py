"""Attached clients, terminals and execs on the real kernel."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from contextlib import closing

import pytest

from tests.kernel.runtime_bench import ALL, DEADLINE, RAW, Bench, Peer, unframe
from tests.kernel.test_runtime_containers import on_bench, parent_of
from tests.kernel.test_runtime_ready import until
from tiffin.core.container import HostConfig, Ulimit
from tiffin.core.workload import Attachment, LogTarget, Workload
from tiffin.engine.ports import HeldClient
from tiffin.errors import CannotStart, Conflict, TiffinError
from tiffin.runtime.logreader import LogCursor

pytestmark = pytest.mark.root

OUTPUT = Attachment(stdout=True, stderr=True)


def test_attaching_before_the_start_loses_no_byte() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "seq 1 20000; echo oops >&2")
        await bench.runtime.create(workload)
        peer = await bench.attach(workload, OUTPUT)
        await bench.runtime.start(workload.id)
        frames = await peer.frames()
        assert frames[1].split() == [str(n).encode() for n in range(1, 20001)]
        assert frames[2] == b"oops\n"
        assert bench.log(workload).encode() == frames[1] + frames[2]

    on_bench(act)


NUMBERS = "n=0; while [ $n -lt 40000 ]; do echo $n; n=$((n+1)); done"


@pytest.mark.parametrize("kind", ["json-file", "local"])
def test_log_and_stream_meet_without_a_gap(kind: str) -> None:
    """Whatever is in the pipe, in a half line, in the log or rotated just then."""

    async def act(bench: Bench) -> None:
        path = f"{bench.directory}/log"
        target = LogTarget(path, kind=kind, max_size_bytes=100_000, max_files=99)
        workload = bench.workload("sh", "-c", NUMBERS, log=target)
        await bench.runtime.create(workload)
        first = await bench.attach(workload, OUTPUT)
        await bench.runtime.start(workload.id)
        whole = asyncio.create_task(first.frames())
        late = [asyncio.create_task(replayed(bench, workload, kind)) for _ in range(4)]
        for task in late:
            assert (await task) == (await whole)[1]
        await bench.ended(workload)

    on_bench(act)


def test_a_half_line_is_seen_once_by_who_comes_after_it() -> None:
    async def act(bench: Bench) -> None:
        script = "echo one; printf tw; read x; echo o; printf thr; read x; echo ee"
        workload = bench.workload("sh", "-c", script, open_stdin=True)
        await bench.runtime.create(workload)
        first = await bench.attach(workload)
        await bench.runtime.start(workload.id)
        await first.read_until(b"tw")
        ours, held = await hold(bench, workload)
        await first.write(b"\n")
        await first.read_until(b"thr")
        await held.end(joined=True)
        await first.write(b"\n")
        assert (await ours.frames())[1] == b"two\nthree\n"
        assert held.log is not None
        with closing(LogCursor(workload.log.path, "json-file")) as cursor:
            assert [b.lines async for b in cursor.read_to(held.log)] == [[b"one\n"]]

    on_bench(act)


def test_who_is_held_gets_nothing_and_is_waited_for_at_the_end() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "read x; echo $x", open_stdin=True)
        await bench.start(workload)
        peer, held = await hold(bench, workload, ALL)
        await peer.write(b"hello\n")
        await bench.ended(workload)
        with pytest.raises(BlockingIOError):
            peer.socket.recv(1)
        await held.end(joined=True)
        assert (await peer.frames())[1] == b"hello\n"

    on_bench(act)


def test_a_log_that_is_open_rotates_however_long_who_is_held_takes() -> None:
    async def act(bench: Bench) -> None:
        target = LogTarget(f"{bench.directory}/log", max_size_bytes=10_000, max_files=2)
        workload = bench.workload("sh", "-c", "read x; seq 1 5000", open_stdin=True, log=target)
        await bench.start(workload)
        peer, held = await hold(bench, workload, Attachment(stdin=True, stderr=True))
        assert await held.taken()
        await peer.write(b"\n")
        await bench.ended(workload)
        assert os.stat(target.path).st_size <= 10_000
        assert os.path.exists(target.path + ".1")
        await held.end(joined=True)
        assert await peer.read() == b""

    on_bench(act)


def test_who_is_held_and_left_is_let_go_of() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        peer, held = await hold(bench, workload)
        await held.end(joined=False)
        assert await peer.read() == b""
        assert not await held.taken()

    on_bench(act)


def test_who_is_held_outlives_what_the_daemon_needs_of_its_container() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("echo", "hello", open_stdin=True)
        await bench.runtime.create(workload)
        peer, held = await hold(bench, workload)
        await bench.runtime.start(workload.id)
        await bench.ended(workload)
        await bench.runtime.remove(workload.id)
        async with asyncio.timeout(DEADLINE):
            while bench.runtime.tracks(workload.id):
                await asyncio.sleep(0.01)
        await held.end(joined=True)
        assert (await peer.frames())[1] == b"hello\n"

    on_bench(act)


def test_who_is_held_sees_the_end_when_the_daemon_goes() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        peer, _held = await hold(bench, workload)
        await bench.runtime.close()
        assert await peer.read() == b""
        await bench.open()
        await bench.runtime.reconnect(workload.id)

    on_bench(act)


async def hold(
    bench: Bench, workload: Workload, attachment: Attachment = OUTPUT
) -> tuple[Peer, HeldClient]:
    ours, theirs = socket.socketpair()
    with theirs:
        held = await bench.runtime.hold_client(workload.id, theirs.fileno(), attachment)
    assert held is not None
    return Peer(ours), held


async def replayed(bench: Bench, workload: Workload, kind: str) -> bytes:
    """What the log has, and then the stream."""
    peer, held = await hold(bench, workload)
    with closing(LogCursor(workload.log.path, kind)) as cursor:
        await cursor.open()
        assert await held.taken()
        lines = [line async for b in cursor.read_to(held.log) for line in b.lines]
    assert await held.taken()
    await held.end(joined=True)
    return b"".join(lines) + (await peer.frames())[1]


def test_output_without_a_newline_is_kept_as_it_is() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("printf", "a\\nb")
        await bench.start(workload)
        await bench.ended(workload)
        assert [record["log"] for record in bench.records(workload)] == ["a\n", "b"]

    on_bench(act)


def test_the_end_of_a_clients_input_is_the_end_of_stdin() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("cat", open_stdin=True, stdin_once=True)
        await bench.runtime.create(workload)
        peer = await bench.attach(workload)
        await bench.runtime.start(workload.id)
        data = os.urandom(3_000_000)
        reading = asyncio.create_task(peer.frames())
        await peer.write(data)
        peer.end_input()
        assert (await reading)[1] == data
        assert (await bench.ended(workload)).exit_code == 0

    on_bench(act)


def test_without_an_open_stdin_the_program_reads_the_end_at_once() -> None:
    async def act(bench: Bench) -> None:
        assert await bench.run("cat") == (0, "")

    on_bench(act)


def test_two_clients_see_the_same_and_one_that_leaves_disturbs_nobody() -> None:
    async def act(bench: Bench) -> None:
        script = "read x; echo got $x; read y; echo and $y"
        workload = bench.workload("sh", "-c", script, open_stdin=True)
        await bench.runtime.create(workload)
        first, second = await bench.attach(workload), await bench.attach(workload, OUTPUT)
        await bench.runtime.start(workload.id)
        await first.write(b"one\n")
        await second.read_until(b"got one\n")
        second.socket.close()
        await first.write(b"two\n")
        assert (await first.frames())[1] == b"got one\nand two\n"

    on_bench(act)


def test_a_client_that_reads_slowly_alone_is_waited_for_and_loses_nothing() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "yes | head -c 8000000")
        await bench.runtime.create(workload)
        peer = await bench.attach(workload, OUTPUT)
        await bench.runtime.start(workload.id)
        done, _ = await asyncio.wait({asyncio.ensure_future(bench.ended(workload))}, timeout=0.5)
        assert not done
        assert len((await peer.frames())[1]) == 8_000_000
        await bench.ended(workload)

    on_bench(act)


def test_a_client_that_stands_still_stops_neither_others_nor_the_container() -> None:
    async def act(bench: Bench) -> None:
        alone, shared = (bench.workload("sh", "-c", "yes | head -c 8000000") for _ in range(2))
        await bench.runtime.create(alone)
        await bench.runtime.create(shared)
        still = [await bench.attach(alone, OUTPUT), await bench.attach(shared, OUTPUT)]
        peer = await bench.attach(shared, OUTPUT)
        await bench.runtime.start(alone.id)
        await bench.runtime.start(shared.id)
        assert len((await peer.frames())[1]) == 8_000_000
        await bench.ended(shared)
        await bench.ended(alone)
        for late in still:  # all of it was kept
            assert (await late.frames())[1] == b"y\n" * 4_000_000

    on_bench(act)


def test_nobody_waits_for_a_detached_containers_readers() -> None:
    async def act(bench: Bench) -> None:
        log = LogTarget(f"{bench.directory}/log", max_size_bytes=0)
        code, output = await bench.run("sh", "-c", "yes | head -c 1000000", log=log)
        assert (code, len(output)) == (0, 1_000_000)

    on_bench(act)


def test_a_terminal_is_the_containers_own() -> None:
    async def act(bench: Bench) -> None:
        script = "tty; stty size; ls -l /dev/console | cut -c1; id -u; echo x > /dev/tty"
        workload = bench.workload("sh", "-c", script, tty=True, open_stdin=True, user="1000")
        await bench.runtime.create(workload)
        await bench.runtime.resize(workload.id, "", 25, 80)
        peer = await bench.attach(workload, RAW)
        await bench.runtime.start(workload.id)
        assert (await peer.read()).split() == [b"/dev/pts/0", b"25", b"80", b"c", b"1000", b"x"]

    on_bench(act)


def test_resizing_a_terminal_signals_the_program() -> None:
    async def act(bench: Bench) -> None:
        script = "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.1; done"
        workload = bench.workload("sh", "-c", script, tty=True)
        await bench.runtime.create(workload)
        peer = await bench.attach(workload, RAW)
        await bench.runtime.start(workload.id)
        await peer.read_until(b"up\r\n")
        await bench.runtime.resize(workload.id, "", 33, 77)
        assert await peer.read() == b"33 77\r\n"

    on_bench(act)


def test_the_detach_keys_let_a_terminals_client_go() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("cat", tty=True, open_stdin=True)
        await bench.runtime.create(workload)
        peer = await bench.attach(workload, RAW)
        await bench.runtime.start(workload.id)
        await peer.write(b"hello\n")
        await peer.read_until(b"hello\r\nhello\r\n")
        await peer.write(b"\x10\x11")
        assert await peer.read() == b""
        await bench.runtime.kill(workload.id, 9)
        await bench.ended(workload)

    on_bench(act)


def test_a_raw_terminal_passes_every_byte_both_ways() -> None:
    async def act(bench: Bench) -> None:
        data = bytes(range(256)) * 40 + os.urandom(10_000)
        script = f"stty raw -echo; echo ready; head -c {len(data)}"
        workload = bench.workload("sh", "-c", script, tty=True, open_stdin=True)
        await bench.runtime.create(workload)
        peer = await bench.attach(workload, Attachment(True, True, True, False, detach_keys=b""))
        await bench.runtime.start(workload.id)
        await peer.read_until(b"ready\n")
        reading = asyncio.create_task(peer.read())
        await peer.write(data)
        assert await reading == data

    on_bench(act)


def test_ctrl_c_reaches_a_terminals_program() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload(
            "sh",
            "-c",
            "trap 'exit 9' INT; echo up; while :; do sleep 0.1; done",
            tty=True,
            open_stdin=True,
        )
        await bench.runtime.create(workload)
        peer = await bench.attach(workload, RAW)
        await bench.runtime.start(workload.id)
        await peer.read_until(b"up")
        await peer.write(b"\x03")
        assert (await bench.ended(workload)).exit_code == 9

    on_bench(act)


def test_an_exec_runs_in_the_container_as_its_user_and_tells_its_exit_code() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100", user="1000")
        created = await bench.start(workload)
        script = (
            "echo $HOSTNAME; id -u; grep -E 'CapBnd|Seccomp:' /proc/self/status;"
            "readlink /proc/self/ns/cgroup; echo x >/dev/stdout; exit 5"
        )
        pid, peer = await bench.exec(workload, "sh", "-c", script)
        assert peer is not None
        lines = (await peer.frames())[1].decode().split()
        assert lines[:2] == ["box", "1000"]
        assert lines[3] == "00000000a80425fb"
        assert lines[5] == "2"
        assert lines[6] == os.readlink(f"/proc/{created.pid}/ns/cgroup")
        assert lines[7] == "x"
        assert (await bench.ended(workload, "e1")).exit_code == 5
        assert pid > 1

    on_bench(act)


def test_an_exec_has_the_containers_limits() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        pid, peer = await bench.exec(workload, "cat", attachment=RAW)
        assert peer is not None
        assert pid in await bench.runtime.pids(workload.id)
        peer.end_input()
        assert (await bench.ended(workload, "e1")).exit_code == 0

    on_bench(act)


def test_an_exec_may_have_few_files_open() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(ulimits=(Ulimit("nofile", 4, 6),))
        workload = bench.workload("sleep", "1000", host=host)
        await bench.start(workload)
        _, peer = await bench.exec(workload, "sh", "-c", "ulimit -n; ulimit -Hn")
        assert peer is not None
        assert (await peer.frames())[1] == b"4\n6\n"

    on_bench(act)


def test_an_exec_takes_input_and_gives_all_output() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        _, peer = await bench.exec(workload, "cat")
        assert peer is not None
        data = os.urandom(1_000_000)
        reading = asyncio.create_task(peer.frames())
        await peer.write(data)
        peer.end_input()
        assert (await reading)[1] == data

    on_bench(act)


def test_an_exec_may_have_a_terminal_of_its_own() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        _, peer = await bench.exec(
            workload,
            "sh",
            "-c",
            "tty; stty size; read x; stty size; echo $TERM",
            attachment=RAW,
            tty=True,
            console_size=(20, 50),
        )
        assert peer is not None
        seen = await peer.read_until(b"20 50\r\n")
        assert b"/dev/pts/" in seen
        await bench.runtime.resize(workload.id, "e1", 21, 51)
        await peer.write(b"\n")
        assert (await peer.read()).split()[-3:] == [b"21", b"51", b"xterm"]
        assert (await bench.ended(workload, "e1")).exit_code == 0

    on_bench(act)


def test_a_privileged_exec_has_all_capabilities() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        _, peer = await bench.exec(workload, "grep", "CapEff", "/proc/self/status", privileged=True)
        assert peer is not None
        assert (await peer.frames())[1].split()[1].decode() == _our_bounding_set()

    on_bench(act)


def _our_bounding_set() -> str:
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(line.split()[1] for line in file if line.startswith("CapBnd"))


def test_an_exec_that_cannot_start_says_why_and_leaves_nothing() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        with pytest.raises(CannotStart) as caught:
            await bench.exec(workload, "nope")
        assert caught.value.exit_code == 127
        assert caught.value.message == (
            "OCI runtime exec failed: exec failed: unable to start container process: "
            'exec: "nope": executable file not found in $PATH: unknown'
        )
        with pytest.raises(CannotStart, match="unable to find user foo"):
            await bench.exec(workload, "true", user="foo")
        with pytest.raises(CannotStart, match="chdir to cwd"):
            await bench.exec(workload, "true", working_dir="/etc/passwd")
        assert len(await bench.runtime.pids(workload.id)) == 1

    on_bench(act)


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ("/none", 'chdir to cwd ("/none") set in config.json failed: no such file or directory'),
        ("tmp", "Cwd must be an absolute path"),
    ],
)
def test_the_working_directory_of_an_exec_has_to_be_there(directory: str, words: str) -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        with pytest.raises(CannotStart, match=re.escape(words)):
            await bench.exec(workload, "true", working_dir=directory)

    on_bench(act)


def test_execs_end_with_the_container() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        _, peer = await bench.exec(workload, "sleep", "1000")
        await bench.runtime.kill(workload.id, 9)
        assert (await bench.ended(workload)).exit_code == 137
        assert (await bench.ended(workload, "e1")).exit_code == 137
        assert peer is not None
        await peer.read()
        with pytest.raises(Conflict):
            await bench.exec(workload, "true", exec_id="e2")

    on_bench(act)


def test_an_execs_output_is_not_lost_with_the_container() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        _, peer = await bench.exec(workload, "head", "-c", "900000", "/dev/zero")
        assert peer is not None
        await bench.ended(workload, "e1")
        await bench.runtime.kill(workload.id, 9)
        await bench.ended(workload)
        assert (await peer.frames())[1] == bytes(900_000)

    on_bench(act)


def test_what_an_exec_leaves_running_is_listened_to_for_a_while() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        after = "while kill -0 $$; do sleep 0.01; done 2>/dev/null; echo late; echo oops >&2"
        _, peer = await bench.exec(workload, "sh", "-c", f"({after}) & echo now")
        assert peer is not None
        assert (await bench.ended(workload, "e1")).exit_code == 0
        assert await peer.frames() == {1: b"now\nlate\n", 2: b"oops\n"}

    on_bench(act)


def test_what_an_exec_leaves_running_goes_on() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        script = "mkfifo /go; (read x < /go; echo unheard; echo x > /done) & echo now"
        _, peer = await bench.exec(workload, "sh", "-c", script)
        assert peer is not None
        assert (await peer.frames())[1] == b"now\n"
        assert (await bench.ended(workload, "e1")).exit_code == 0
        _, waiting = await bench.exec(
            workload,
            *("sh", "-c", "echo > /go; until test -e /done; do sleep 0.05; done"),
            exec_id="e2",
        )
        assert waiting is not None
        assert (await bench.ended(workload, "e2")).exit_code == 0

    on_bench(act)


def test_many_execs_leak_no_descriptor_in_the_shim() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        created = await bench.start(workload)
        shim = parent_of(created.pid)
        before = len(os.listdir(f"/proc/{shim}/fd"))
        for number in range(12):
            _, peer = await bench.exec(workload, "true", exec_id=f"e{number}")
            assert peer is not None
            await peer.read()
            await bench.ended(workload, f"e{number}")
        await until(lambda: len(os.listdir(f"/proc/{shim}/fd")) <= before)

    on_bench(act)


def test_containers_and_logs_survive_the_daemon_and_are_found_again() -> None:
    async def act(bench: Bench) -> None:
        script = "i=0; while test $i -lt 300; do i=$((i+1)); echo $i; sleep 0.005; done; exit 3"
        living = bench.workload("sleep", "100")
        ending = bench.workload("sh", "-c", script)
        created = await bench.start(living)
        await bench.start(ending)
        await _crash(bench)
        await bench.open()
        assert await bench.runtime.reconnect(living.id) == created
        found = await bench.runtime.reconnect(ending.id)
        assert found is not None
        if not hasattr(found, "exit_code"):
            assert (await bench.ended(ending)).exit_code == 3
        assert bench.log(ending).split() == [str(n) for n in range(1, 301)]
        _, peer = await bench.exec(living, "echo", "alive")
        assert peer is not None
        assert (await peer.frames())[1] == b"alive\n"
        await bench.runtime.kill(living.id, 9)
        assert (await bench.ended(living)).exit_code == 137

    on_bench(act)


def test_an_end_that_nobody_saw_is_read_from_disk() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "read x; exit 4", open_stdin=True, stdin_once=True)
        created = await bench.start(workload)
        peer = await bench.attach(workload)
        await _crash(bench)
        pidfd = os.pidfd_open(created.pid)
        await peer.write(b"\n")
        await peer.read()
        await _readable(pidfd)
        os.close(pidfd)
        await _gone(f"{bench.directory}/run/{workload.id}/control.sock")
        await bench.open()
        found = await bench.runtime.reconnect(workload.id)
        assert found is not None
        assert getattr(found, "exit_code", None) == 4

    on_bench(act)


def test_what_was_only_created_ends_with_the_daemon() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("true")
        created = await bench.runtime.create(workload)
        shim, pidfd = os.pidfd_open(parent_of(created.pid)), os.pidfd_open(created.pid)
        await _crash(bench)
        for fd in (pidfd, shim):
            await _readable(fd)
            os.close(fd)
        await bench.open()
        assert await bench.runtime.reconnect(workload.id) is None

    on_bench(act)


async def _crash(bench: Bench) -> None:
    """As kill -9 of the daemon: every connection closed, the zygote dead, nothing said."""
    runtime = bench.runtime
    for shim in runtime._shims._alive.values():
        shim.connection.on_event = lambda _message: None
        shim.exit = shim.exit or object()  # type: ignore[assignment]
        shim.connection.close()
    assert runtime._zygote.process is not None
    runtime._zygote.process.send_signal(signal.SIGKILL)
    assert runtime._zygote.connection is not None
    runtime._zygote.connection.close()
    await asyncio.to_thread(runtime._zygote.process.wait)


async def _readable(fd: int) -> None:
    ready = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(fd, lambda: ready.done() or ready.set_result(None))
    async with asyncio.timeout(DEADLINE):
        await ready
    asyncio.get_running_loop().remove_reader(fd)


async def _gone(path: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while os.path.exists(path):
            await asyncio.sleep(0.01)


def test_a_container_whose_shim_is_killed_ends_and_is_told() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        created = await bench.start(workload)
        shim = parent_of(created.pid)
        os.kill(shim, signal.SIGKILL)
        ended = await bench.ended(workload)
        assert (ended.exit_code, ended.signal) == (137, 9)
        assert not os.path.exists(f"/proc/{created.pid}/exe")

    on_bench(act)


def test_a_dead_zygote_is_replaced() -> None:
    async def act(bench: Bench) -> None:
        assert bench.runtime._zygote.process is not None
        bench.runtime._zygote.process.send_signal(signal.SIGKILL)
        assert bench.runtime._zygote.connection is not None
        async with asyncio.timeout(DEADLINE):
            await bench.runtime._zygote.connection.ended
        assert (await bench.run("true"))[0] == 0

    on_bench(act)


def test_the_control_socket_is_roots_alone() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        directory = f"{bench.directory}/run/{workload.id}"
        assert os.stat(directory).st_mode & 0o777 == 0o700
        assert os.stat(f"{directory}/control.sock").st_mode & 0o777 == 0o600

    on_bench(act)


def test_nothing_inside_can_reach_our_process_through_proc() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "cat /proc/1/exe > /dev/null && echo read")
        created = await bench.runtime.create(workload)
        # As root of the container's user namespace sees it: not dumpable, so owned by nobody there.
        assert os.stat(f"/proc/{created.pid}/exe", follow_symlinks=False).st_uid == 0
        await bench.runtime.start(workload.id)
        await bench.ended(workload)

    on_bench(act)


def test_asking_after_an_unknown_container_is_an_error_of_ours() -> None:
    async def act(bench: Bench) -> None:
        with pytest.raises(TiffinError):
            await bench.runtime.kill("0" * 64, 9)
        assert await bench.runtime.reconnect("0" * 64) is None

    on_bench(act)


def test_frames_are_read_as_they_are_written() -> None:
    assert unframe(b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x01!") == {1: b"hi", 2: b"!"}
