"""Execs one after the other: the process of the next one stands by in the container."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import select
import shutil
import signal
import sys

import pytest

from tests.kernel.runtime_bench import DEADLINE, Bench, Peer
from tests.kernel.test_runtime_containers import on_bench
from tests.kernel.test_runtime_ready import POLL_SECONDS, Case, gone, until
from tiffin.core.container import HostConfig, Ulimit
from tiffin.errors import CannotStart
from tiffin.kernel import calls
from tiffin.runtime import zygoteclient

pytestmark = pytest.mark.root

STAYS_SECONDS = 2.0
SERIAL = itertools.count()


async def run(case: Case, *argv: str, **options: object) -> tuple[int, Peer]:
    """An exec as a client has it, created and then started: its pid, and its client."""
    await case.mention(*argv, **options)
    pid, peer = await case.bench.exec(case.workload, *argv, **options)  # type: ignore[arg-type]
    assert peer
    return pid, peer


async def standing_by(case: Case, **kind: object) -> int:
    """The pid of the process that is there after two execs of the kind.

    On a slow machine after more: two may be too far from each other, and it does not stay.
    """
    async with asyncio.timeout(DEADLINE):
        while True:
            for _ in range(2):
                name = f"before{next(SERIAL)}"
                _pid, peer = await run(case, "true", exec_id=name, **kind)
                await peer.read()
                await case.bench.ended(case.workload, name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STAYS_SECONDS):
                    return await one_that_waits(case)


async def one_that_waits(case: Case) -> int:
    while True:
        for pid in case.children() - {case.init}:
            if waits(pid):
                return pid
        await asyncio.sleep(POLL_SECONDS)


async def taken(case: Case, *argv: str, **options: object) -> tuple[int, Peer]:
    """As `run`, by a process that stood by: on a slow machine the first one does not stay."""
    kind = {name: value for name, value in options.items() if name in ("user", "privileged")}
    for _ in range(30):
        waiting = await standing_by(case, **kind)
        pid, peer = await run(case, *argv, **options)
        if pid == waiting:
            return pid, peer
        peer.end_input()
        await peer.read()
    raise AssertionError("no process that stood by was taken")


async def bare(case: Case, **kind: object) -> int:
    """As `standing_by`, one without an interpreter; a file of users may have been too new for it.

    Where all keep theirs, any.
    """
    async with asyncio.timeout(DEADLINE):
        while True:
            waiting = await standing_by(case, **kind)
            handle = os.pidfd_open(waiting)
            while not select.select([handle], [], [], 0)[0]:
                if resident_kilobytes(waiting) < 256 or not calls.is_known:
                    os.close(handle)
                    return waiting
                await asyncio.sleep(POLL_SECONDS)
            os.close(handle)


def waits(pid: int) -> bool:
    """For its word: it sleeps, behind the filter already."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            status = file.read()
    except OSError:
        return False
    return "State:\tS" in status and "\nSeccomp:\t2" in status


def resident_kilobytes(pid: int) -> int:
    """Much, where it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            sizes = [int(line.split()[1]) for line in file if line.startswith("Rss:")]
    except OSError:
        sizes = []
    return sizes[0] if sizes else sys.maxsize


async def ready(pid: int) -> None:
    """It has found its program and waits for the word; or has ended."""
    await until(lambda: call_of(pid) in (calls.RECVFROM, None))


def call_of(pid: int) -> int | None:
    """The system call that it waits in; None: it has ended."""
    try:
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            word = file.read().split()[0]
    except OSError:
        return None
    return int(word) if word.isdigit() else -1


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def what_is_it(pid: int) -> dict[str, object]:
    """All that makes a process one of its container, and one of its user's."""
    kinds = os.listdir(f"/proc/{pid}/ns")
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip("\n").split(":", 1) for line in file)
    names = ("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Seccomp_filters", "SigIgn", "SigBlk")
    names += tuple(name for name in status if name.startswith(("Cap", "Cpus_allowed")))
    found: dict[str, object] = {name: status.get(name) for name in names}
    found["ns"] = {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}
    for file_name in ("limits", "cgroup", "oom_score_adj", "personality", "attr/current"):
        try:
            with open(f"/proc/{pid}/{file_name}", encoding="utf-8") as file:
                found[file_name] = file.read()
        except OSError as error:
            found[file_name] = error.errno
    found["fd"] = sorted(os.listdir(f"/proc/{pid}/fd"))
    found["root"] = os.stat(f"/proc/{pid}/root/").st_ino
    found["session"] = os.getsid(pid) == pid
    return found


@pytest.fixture(params=[True, False], ids=["interpreter", "bare"])
def waiting_as(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its interpreter a process waits on processors whose machine code is not known."""
    if request.param:
        monkeypatch.setattr(calls, "is_known", False)
        unknown = (
            "from tiffin.kernel import calls; calls.is_known = False; from tiffin.runtime.zygote"
        )
        boot = zygoteclient.BOOT.replace("from tiffin.runtime.zygote", unknown)
        monkeypatch.setattr(zygoteclient, "BOOT", boot)
    elif not calls.is_known:
        pytest.skip("not known for this processor")


@pytest.mark.usefixtures("waiting_as")
@pytest.mark.parametrize("user", ["", "7:8"])
@pytest.mark.parametrize("userns_mode", ["", "host"])
@pytest.mark.parametrize("privileged", [False, True])
def test_the_third_in_a_row_was_there_before_and_is_like_any_other(
    user: str, userns_mode: str, privileged: bool
) -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(userns_mode=userns_mode)
        case = await Case.open(bench, host=host)
        options = {"user": user, "privileged": privileged}
        first, peer = await run(case, "cat", exec_id="plain", **options)
        usual = what_is_it(first)
        peer.end_input()
        await peer.read()
        await bench.ended(case.workload, "plain")

        env, argv = ("A=b", "PATH=/bin", "HOME=/"), ("cat", "-", "/proc/self/environ")
        options |= {"env": env, "working_dir": "/tmp", "exec_id": "third"}
        pid, peer = await taken(case, *argv, **options)
        assert what_is_it(pid) == usual
        assert os.readlink(f"/proc/{pid}/cwd") == "/tmp"
        await peer.write(b"over and out\n")
        peer.end_input()
        output = (await peer.frames())[1].removeprefix(b"over and out\n")
        assert sorted(output.rstrip(b"\0").split(b"\0")) == sorted(
            map(str.encode, (*env, "HOSTNAME=box"))
        )
        assert (await bench.ended(case.workload, "third")).exit_code == 0

    on_bench(act)


@pytest.mark.parametrize(
    "otherwise",
    [{"user": "1:1"}, {"privileged": True}, {"tty": True}],
    ids=lambda one: next(iter(one)),
)
def test_one_of_another_kind_is_made_anew(otherwise: dict[str, object]) -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        waiting = await standing_by(case)
        pid, peer = await run(case, "id", "-u", **otherwise)
        assert pid != waiting
        assert (b"1" if "user" in otherwise else b"0") in await peer.read()

    on_bench(act)


@pytest.mark.usefixtures("waiting_as")
def test_a_user_that_has_changed_meanwhile_is_the_new_one() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        passwd = f"/proc/{case.init}/root/etc/passwd"
        write(passwd, "bob:x:5:5::/old:/bin/sh\n")
        waiting = await bare(case, user="bob")
        write(passwd, "bob:x:6:6::/new:/bin/sh\n")
        pid, peer = await run(case, "sh", "-c", "id -u; echo $HOME", user="bob")
        assert pid != waiting
        assert (await peer.frames())[1] == b"6\n/new\n"

    on_bench(act)


@pytest.mark.skipif(not calls.is_known, reason="not known for this processor")
@pytest.mark.parametrize("privileged", [False, True])
def test_one_that_waits_has_no_interpreter(privileged: bool) -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        await bare(case, privileged=privileged)

    on_bench(act)


# What an exec may be, by a script to be run before it in the container, and what it asks for.
EXECS: dict[str, tuple[str, tuple[str, ...], dict[str, object]]] = {
    "by its path": ("", ("/bin/echo", "a", "", "b c"), {}),
    "found": ("", ("sh", "-c", "echo $0 $HOME $A; pwd; umask; ulimit -n"), {"env": ("A=b",)}),
    "found in PATH": ("", ("sh", "-c", "echo $0 $PATH"), {"env": ("PATH=/nowhere::/bin:/tmp",)}),
    "without a PATH": ("", ("sh",), {"env": ()}),
    "in a directory": ("mkdir -p /w/w", ("pwd",), {"working_dir": "/w/w"}),
    "by a path from there": (
        "mkdir -p /w; cp /bin/busybox /w/echo",
        ("./echo", "x"),
        {"working_dir": "/w"},
    ),
    "in no directory": ("", ("pwd",), {"working_dir": "/nowhere"}),
    "in a file": ("", ("pwd",), {"working_dir": "/etc/passwd"}),
    "not there": ("", ("nowhere",), {}),
    "not there, by its path": ("", ("/nowhere/x",), {}),
    "a directory": ("", ("/etc",), {}),
    "not executable": ("", ("/etc/passwd",), {}),
    "behind a directory": ("mkdir -p /p/echo", ("echo", "y"), {"env": ("PATH=/p:/bin",)}),
    "behind a plain file": ("mkdir -p /p; >/p/echo", ("echo", "y"), {"env": ("PATH=/p:/bin",)}),
    "of no format": ("echo nothing >/x; chmod 755 /x", ("/x",), {}),
    "of no format, found": ("echo nothing >/bin/x; chmod 755 /bin/x", ("x",), {}),
    "of no interpreter": ("echo '#!/nowhere' >/x; chmod 755 /x", ("/x",), {}),
    "somebody's": ("chmod 777 /tmp", ("sh", "-c", "id; echo a >/dev/stdout; cat"), {"user": "7:8"}),
    "forbidden to somebody": ("cp /bin/busybox /x; chmod 700 /x", ("/x",), {"user": "7:8"}),
    "with a stranger byte": ("", ("echo", "\udcff"), {}),
    "ended by a signal": ("", ("sh", "-c", "kill -9 $$"), {}),
}


@pytest.mark.usefixtures("waiting_as")
@pytest.mark.parametrize("what", EXECS)
def test_one_that_stood_by_is_as_one_made_anew(what: str) -> None:
    script, argv, options = EXECS[what]
    kind = {name: value for name, value in options.items() if name == "user"}

    async def outcome(case: Case) -> tuple[int, object]:
        """Its pid, 0 where there is none, and what can be seen of it."""
        name = f"outcome{next(SERIAL)}"
        try:
            pid, peer = await run(case, *argv, exec_id=name, **options)
        except CannotStart as error:
            return 0, (error.message, error.exit_code)
        with contextlib.suppress(OSError):  # it may have ended
            await peer.write(b"typed")
            peer.end_input()
        output = await peer.frames()
        ended = await case.bench.ended(case.workload, name)
        return pid, (output, ended.exit_code, ended.signal)

    async def act(bench: Bench) -> None:
        limits = (Ulimit("nofile", 40, 40),)
        case = await Case.open(bench, host=HostConfig(ulimits=limits))
        _pid, peer = await run(case, "sh", "-c", script or "true", exec_id="before")
        await peer.read()
        _pid, usual = await outcome(case)
        for _ in range(30):
            waiting = await bare(case, **kind)
            pid, seen = await outcome(case)
            assert seen == usual
            if pid in (0, waiting) or what == "behind a directory":  # which it leaves to others
                return
        raise AssertionError("no process that stood by was taken")

    on_bench(act)


@pytest.mark.skipif(not calls.is_known, reason="not known for this processor")
@pytest.mark.parametrize("file", ["passwd", "group"])
@pytest.mark.parametrize("change", ["rewritten", "replaced", "removed", "made"])
def test_one_without_an_interpreter_notices_a_change_of_users(file: str, change: str) -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench, host=HostConfig(userns_mode="host"))
        path = f"/proc/{case.init}/root/etc/{file}"
        if change == "made":
            os.unlink(path)
        waiting = await bare(case)
        if change == "replaced":
            write(f"{path}.new", "")
            os.rename(f"{path}.new", path)
        elif change == "removed":
            os.unlink(path)
        else:
            write(path, "")
        pid, peer = await run(case, "echo", "here")
        assert pid != waiting
        assert (await peer.frames())[1] == b"here\n"

    on_bench(act)


@pytest.mark.skipif(not calls.is_known, reason="not known for this processor")
def test_a_program_that_is_gone_by_the_word_is_told_of() -> None:
    """Found when the process got ready, and not there when it is to execute it."""

    async def act(bench: Bench) -> None:
        case = await Case.open(bench, host=HostConfig(userns_mode="host"))
        root = f"/proc/{case.init}/root"
        for _ in range(30):
            shutil.copy(f"{root}/bin/busybox", f"{root}/bin/away")
            waiting = await bare(case)
            await case.mention("away", "x", exec_id="away")
            await ready(waiting)
            os.unlink(f"{root}/bin/away")
            try:
                _pid, peer = await bench.exec(case.workload, "away", "x", exec_id="away")
            except CannotStart:
                continue  # it had ended before
            assert peer
            assert b"exec away: no such file or directory\n" in (await peer.frames())[2]
            assert (await bench.ended(case.workload, "away")).exit_code == 255
            return
        raise AssertionError("none has waited long enough")

    on_bench(act)


def test_nobody_is_charged_for_one_that_waits() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        waiting = await standing_by(case)
        groups = [what_is_it(pid)["cgroup"] for pid in (case.init, waiting, case.shim)]
        assert groups[1] == groups[2] != groups[0]

    on_bench(act)


def test_one_that_nobody_needs_ends() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        descriptors = len(os.listdir(f"/proc/{case.shim}/fd"))
        await gone(os.pidfd_open(await standing_by(case)))
        await until(lambda: case.children() == {case.init})
        await until(lambda: len(os.listdir(f"/proc/{case.shim}/fd")) == descriptors)

    on_bench(act)


def test_one_that_has_been_killed_is_not_missed() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        waiting = await standing_by(case)
        handle = os.pidfd_open(waiting)
        os.kill(waiting, signal.SIGKILL)
        pid, peer = await run(case, "echo", "here")
        assert pid != waiting
        assert (await peer.frames())[1] == b"here\n"
        await gone(handle)

    on_bench(act)


@pytest.mark.parametrize("pid_mode", ["", "host"])
def test_it_ends_with_its_container(pid_mode: str) -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench, host=HostConfig(pid_mode=pid_mode))
        handle = os.pidfd_open(await standing_by(case))
        await bench.runtime.kill(case.workload.id, signal.SIGKILL)
        assert (await bench.ended(case.workload)).signal == signal.SIGKILL
        await gone(handle)

    on_bench(act)


def test_a_container_that_was_paused_has_execs_as_before() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        await standing_by(case)
        await bench.runtime.pause(case.workload.id)
        await bench.runtime.unpause(case.workload.id)
        _pid, peer = await run(case, "echo", "here")
        assert (await peer.frames())[1] == b"here\n"

    on_bench(act)


def test_a_large_environment_reaches_it() -> None:
    async def act(bench: Bench) -> None:
        case = await Case.open(bench)
        env = ("PATH=/bin", *(f"V{number}={'x' * 10_000}" for number in range(40)))
        _pid, peer = await run(case, "sh", "-c", "env | wc -c", env=env)
        assert int((await peer.frames())[1]) > 400_000

    on_bench(act)
