"""The engine's own program inside a container: its file, its descriptors, its memory."""

from __future__ import annotations

import ctypes
import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.kernel import oci_bundle
from tests.kernel.oci_bundle import Bundle
from tests.kernel.runtime_bench import Bench, bind
from tests.kernel.test_runtime_ready import Case
from tests.kernel.test_runtime_standby import standing_by
from tests.threats.arena import CHECKOUT, libraries, outcome
from tests.threats.weakened import LEAKED
from tiffin.core.container import HostConfig
from tiffin.errors import CannotStart
from tiffin.runtime import interpreter

pytestmark = pytest.mark.root
_T = TypeVar("_T")


@pytest.mark.threat("own-program")
def test_the_engines_program_is_executed_through_a_mount_that_nobody_can_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An image whose program is /proc/self/exe runs the engine's own, whose file it then has in
    hand: with the host's ids it may be written (CVE-2019-5736).

    Defence: zygote, shims and first processes are executed through a read-only mount that is
    attached nowhere (runtime.interpreter).
    Seen to fail: with the interpreter opened by its path, the mount is the host's, writable.
    """
    code = "import os, sys; sys.stdout.write(str(os.statvfs('/proc/self/exe').f_flag & 1))"
    argv = ("/proc/self/exe", "-I", "-S", "-c", code)
    user = HostConfig(userns_mode="host")

    async def attack(bench: Bench) -> str:
        mounts = tuple(bind(path, path, rw=False) for path in libraries())
        code, output = await bench.run(*argv, host=user, mounts=mounts)
        assert code == 0, output
        return output

    assert outcome(attack) == "1"
    monkeypatch.setattr(interpreter, "opened", lambda path: os.open(path, os.O_PATH))
    assert outcome(attack) == "0"


@pytest.mark.threat("own-program")
def test_the_runtimes_command_line_is_out_of_reach_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tiffin-runtime makes containers with the host's ids for whoever asks, and their first process
    is its own interpreter until they are started (CVE-2019-5736).

    Defence: create, run and exec start anew through the same kind of mount.
    Seen to fail: called without that start, the first process's file can be written.
    """
    bundle = Bundle(tmp_path)
    bundle.write("true")

    def flag() -> int:
        bundle.ok("create", "box")
        found = os.statvfs(f"/proc/{bundle.state()['pid']}/exe").f_flag & 1
        bundle.ok("delete", "--force", "box")
        return found

    assert flag() == 1
    directly = tmp_path / "directly"
    directly.write_text(
        f"#!/bin/sh\nexec {sys.executable} -I -S -c 'import sys; "
        f'sys.path.insert(0, "{CHECKOUT}"); from tiffin.runtime.oci.main import main; '
        'sys.exit(main(sys.argv[1:]))\' "$@"\n'
    )
    directly.chmod(0o755)
    monkeypatch.setattr(oci_bundle, "RUNTIME", str(directly))
    assert flag() == 0
    bundle.close()


@pytest.fixture(params=["0", "1"], ids=["secure", "debugging"])
def suid_dumpable(request: pytest.FixtureRequest) -> Iterator[str]:
    """As the host has it: with 1 a change of ids makes a process dumpable again."""
    setting = Path("/proc/sys/fs/suid_dumpable")
    before = setting.read_text()
    setting.write_text(request.param)
    yield request.param
    setting.write_text(before)


@pytest.mark.threat("own-program")
@pytest.mark.usefixtures("suid_dumpable")
def test_a_first_process_that_is_still_the_engines_cannot_be_looked_at() -> None:
    """Who shares the pids of a container that starts sees the engine's interpreter become its
    program, and reads or enters it through /proc (CVE-2016-9962).

    Defence: PR_SET_DUMPABLE is 0 from the zygote to the exec, again after each change of ids.
    Seen to fail: with a zygote that leaves it at 1 the link to the interpreter is read.
    """

    async def attack(bench: Bench) -> bool:
        victim = bench.workload("true")
        created = await bench.runtime.create(victim)  # waits, just before it becomes `true`
        code, _ = await bench.run(
            "readlink", "/proc/1/exe",
            host=HostConfig(cap_add=("SYS_PTRACE",), pid_mode=f"container:{victim.id}"),
            id_range=victim.id_range,
            join_pids={"pid": created.pid, "user": created.pid},
        )  # fmt: skip
        return code == 0

    assert outcome(attack) is False
    assert outcome(attack, without="dumpable") is True


@pytest.mark.threat("own-program")
@pytest.mark.usefixtures("suid_dumpable")
@pytest.mark.parametrize("stands_by", [False, True])
def test_an_exec_that_waits_for_its_start_cannot_be_looked_at(stands_by: bool) -> None:
    """The process of a created exec, or of one that may come, waits inside, the engine's program
    still, with all of the container's processes beside it (CVE-2016-9962).

    Defence: as for a first process.
    Seen to fail: with a zygote that leaves PR_SET_DUMPABLE at 1 the link to its program is read.
    """
    # What has ended, and lies there until its shim looks, has no program any more.
    living = "grep -qs 'State:.[^ZX]' $pid/status"
    look = f"for pid in /proc/[0-9]*; do readlink $pid/exe || ! {living} || echo hidden; done"

    async def attack(bench: Bench) -> bool:
        case = await Case.open(bench, host=HostConfig(cap_add=("SYS_PTRACE",)))
        for number in range(30):
            being = standing_by(case, user="1:1") if stands_by else case.ready("true", user="1:1")
            try:
                waiting = os.pidfd_open(await being)
            except OSError:
                continue  # on a slow machine none gets ready in time, or it has ended
            _pid, peer = await bench.exec(case.workload, "sh", "-c", look, exec_id=f"a{number}")
            assert peer
            seen = (await peer.frames())[1]
            if not select.select([waiting], [], [], 0)[0]:  # it was there all the time
                os.close(waiting)
                return b"hidden" not in seen
            os.close(waiting)
        raise AssertionError("none has waited long enough")

    assert outcome(attack) is False
    assert outcome(attack, without="dumpable") is True


async def _listing(bench: Bench, working_dir: str, *, by_exec: bool) -> str:
    """What a program sees that is started in `working_dir`; why it is not, otherwise."""
    try:
        if not by_exec:
            return await bench.shell("ls -a .", working_dir=working_dir)
        box = bench.workload("sleep", "1000")
        await bench.start(box)
        _, peer = await bench.exec(box, "ls", "-a", ".", working_dir=working_dir)
        assert peer is not None
        return (await peer.frames())[1].decode()
    except CannotStart as error:
        return error.message


@pytest.mark.threat("leaked-descriptors")
@pytest.mark.parametrize("by_exec", [False, True])
def test_a_working_directory_is_no_descriptor_of_the_engines(by_exec: bool) -> None:
    """WORKDIR /proc/self/fd/N is a directory of the host where the runtime has leaked one
    (CVE-2024-21626).

    Defence: everything is closed before the image has a say, and a working directory without a
    name in this root (getcwd) is refused.
    Seen to fail: with a descriptor left open, the check alone refuses; without the check too, the
    program starts in the host's /etc.
    """

    async def attack(bench: Bench) -> str:
        return await _listing(bench, f"/proc/self/fd/{LEAKED}", by_exec=by_exec)

    assert "chdir to cwd" in outcome(attack)
    assert "chdir to cwd" in outcome(attack, without="descriptors")
    assert "os-release" in outcome(attack, without="working_directory")


@pytest.mark.threat("leaked-descriptors")
@pytest.mark.parametrize("by_exec", [False, True])
def test_a_program_inherits_its_three_streams_and_nothing_else(by_exec: bool) -> None:
    """A descriptor of the host that a program inherits is a way out (CVE-2016-9962,
    CVE-2024-21626); an exec is a second chance to leak one.

    Defence: all but the channel is closed on the way in, and close_range marks the rest
    close-on-exec as the last thing before the exec.
    Seen to fail: with a descriptor that is neither closed nor marked, the program lists it.
    """

    async def attack(bench: Bench) -> bool:
        if by_exec:
            workload = bench.workload("sleep", "1000")
            await bench.start(workload)
            _, peer = await bench.exec(workload, "ls", "/proc/self/fd")
            assert peer is not None
            seen = (await peer.frames())[1].decode()
        else:
            seen = await bench.shell("ls /proc/self/fd")
        return str(LEAKED) in seen.split()

    assert outcome(attack) is False
    assert outcome(attack, without="descriptors") is False
    assert outcome(attack, without="descriptors_through_exec") is True


@pytest.mark.threat("leaked-descriptors")
def test_a_program_has_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the daemon was started with (proxies with passwords, tokens) is not the containers'.

    Defence: the environment is the plan's, passed to execve, and nothing else.
    Seen to fail: with the daemon's variable put into the plan it is seen.
    """
    monkeypatch.setenv("TIFFIN_SECRET", "token")

    async def attack(bench: Bench) -> bool:
        return "TIFFIN_SECRET" in await bench.shell("env")

    assert outcome(attack) is False
    leak = lambda config: config["process"]["env"].append("TIFFIN_SECRET=token")  # noqa: E731
    assert outcome(attack, plan=leak) is True


SECRET = "tiffin-secret"
KEYCTL, ADD_KEY = {"x86_64": (250, 248), "aarch64": (219, 217)}.get(os.uname().machine, (0, 0))
JOIN, SEARCH, READ, SESSION = 1, 10, 11, -3

# What a program with all system calls tries: to find the key, and to read it.
SEARCHER = f"""
import ctypes
call = ctypes.CDLL(None).syscall
key = call({KEYCTL}, {SEARCH}, {SESSION}, b"user", b"{SECRET}", 0)
text = ctypes.create_string_buffer(64)
print(text.value.decode() if key > 0 and call({KEYCTL}, {READ}, key, text, 64) > 0 else "nothing")
"""


def with_a_key(act: Callable[[], _T]) -> _T:
    """In a thread, whose session keyring is its own: as of a login that has unlocked something."""

    def of_a_login() -> _T:
        call = ctypes.CDLL(None).syscall
        assert call(KEYCTL, JOIN, None) > 0
        assert call(ADD_KEY, b"user", SECRET.encode(), b"unlocked", 8, SESSION) > 0
        return act()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(of_a_login).result()


@pytest.mark.skipif(not os.path.exists("/proc/keys"), reason="the kernel has no keys")
@pytest.mark.threat("keyrings")
@pytest.mark.parametrize("by_exec", [False, True])
@pytest.mark.parametrize("userns_mode", ["", "host"])
def test_a_program_has_a_session_keyring_of_its_own(userns_mode: str, by_exec: bool) -> None:
    """Keys of who started the daemon (of a login, an encrypted disk, Kerberos) are inherited by
    all that it starts, whatever their ids; only the default seccomp profile keeps them shut.

    Defence: each shim has joined a new session keyring before it begets anybody (shimbirth).
    Seen to fail: with a zygote whose shims do not, the program reads the key.
    """
    argv = (os.path.realpath(sys.executable), "-I", "-S", "-c", SEARCHER)
    host = HostConfig(userns_mode=userns_mode, security_opt=("seccomp=unconfined",))

    async def attack(bench: Bench) -> str:
        mounts = tuple(bind(path, path, rw=False) for path in libraries())
        if not by_exec:
            return (await bench.run(*argv, host=host, mounts=mounts))[1]
        box = bench.workload("sleep", "1000", host=host, mounts=mounts)
        await bench.start(box)
        _, peer = await bench.exec(box, *argv)
        assert peer is not None
        return (await peer.frames())[1].decode()

    assert with_a_key(lambda: outcome(attack)) == "nothing\n"
    assert with_a_key(lambda: outcome(attack, without="keyring")) == "unlocked\n"


@pytest.mark.threat("imports-inside")
def test_nothing_of_the_image_is_imported_or_loaded() -> None:
    """A helper that loads code after it has entered a container loads the container's
    (CVE-2019-14271).

    Defence: the zygote has imported everything and clears its path; passwd is parsed by hand. The
    map of a first process that waits in its root names no file of that root.
    Seen to fail: a process that has loaded a library from its root has it in its map (the program
    itself, once it is executed).
    """

    async def attack(bench: Bench) -> tuple[set[str], set[str]]:
        def mapped(pid: int) -> set[str]:
            with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
                return set(re.findall(r"(/bin/busybox|/etc/\S+)$", file.read(), re.MULTILINE))

        workload = bench.workload("sleep", "1000")
        pid = (await bench.runtime.create(workload)).pid
        before = mapped(pid)
        await bench.runtime.start(workload.id)
        _, peer = await bench.exec(workload, "true")  # so that the program has been executed
        assert peer is not None
        await peer.read()
        return before, mapped(pid)

    before, after = outcome(attack)
    assert before == set()
    assert after == {"/bin/busybox"}
