"""Containers on the real kernel: isolation, identity, output, exit codes."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import Awaitable, Callable

import pytest

from tests.kernel.runtime_bench import Bench, bind, opened
from tiffin.core.container import HostConfig, Ulimit
from tiffin.core.workload import LogTarget, Overlay
from tiffin.errors import CannotStart

pytestmark = pytest.mark.root

Act = Callable[[Bench], Awaitable[None]]


def on_bench(act: Act) -> None:
    async def main() -> None:
        async with opened() as bench:
            await act(bench)

    asyncio.run(main())


def test_a_container_sees_a_machine_of_its_own() -> None:
    async def act(bench: Bench) -> None:
        script = "hostname; echo $$; echo /proc/[0-9]*; ls /sys/class/net"
        seen = await bench.shell(script)
        assert seen.split() == ["box", "1", "/proc/1", "lo"]

    on_bench(act)


def test_the_root_of_a_container_is_nobody_outside_and_its_files_are_not_shifted() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "touch /mine; id -u; cat /proc/self/uid_map")
        created = await bench.start(workload)
        await bench.ended(workload)
        assert workload.id_range is not None
        shown = bench.log(workload).split()
        assert shown == ["0", "0", str(workload.id_range.start), "65536"]
        assert os.stat(bench.upper(workload, "/mine")).st_uid == 0
        assert created.pid > 1

    on_bench(act)


def test_the_host_has_no_mount_of_a_container() -> None:
    async def act(bench: Bench) -> None:
        before = _mounts()
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        assert _mounts() == before
        await bench.runtime.remove(workload.id)
        assert (await bench.ended(workload)).exit_code == 137

    on_bench(act)


def _mounts() -> str:
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize(
    ("argv", "code"),
    [(("true",), 0), (("false",), 1), (("sh", "-c", "exit 42"), 42)],
)
def test_an_exit_code_is_the_programs(argv: tuple[str, ...], code: int) -> None:
    async def act(bench: Bench) -> None:
        assert (await bench.run(*argv))[0] == code

    on_bench(act)


def test_a_program_killed_by_a_signal_exits_with_128_and_its_number() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        await bench.start(workload)
        await bench.runtime.kill(workload.id, 9)
        ended = await bench.ended(workload)
        assert (ended.exit_code, ended.signal) == (137, 9)

    on_bench(act)


def test_the_first_process_handles_the_signals_that_it_wants() -> None:
    async def act(bench: Bench) -> None:
        script = "trap 'echo caught; exit 7' TERM; echo up; while :; do sleep 0.1; done"
        workload = bench.workload("sh", "-c", script)
        await bench.runtime.create(workload)
        peer = await bench.attach(workload)
        await bench.runtime.start(workload.id)
        await peer.read_until(b"up\n")
        await bench.runtime.kill(workload.id, 15)
        assert (await bench.ended(workload)).exit_code == 7
        assert b"caught" in await peer.read()

    on_bench(act)


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("nope",), 127, 'exec: "nope": executable file not found in $PATH: unknown'),
        (("/nope",), 127, 'exec: "/nope": stat /nope: no such file or directory: unknown'),
        (("/etc/passwd",), 126, 'exec: "/etc/passwd": permission denied: unknown'),
        (("/etc",), 126, 'exec: "/etc": is a directory: unknown'),
    ],
)
def test_a_command_that_cannot_be_executed_is_refused_in_dockers_words(
    argv: tuple[str, ...], code: int, words: str
) -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload(*argv)
        with pytest.raises(CannotStart) as caught:
            await bench.start(workload)
        assert caught.value.exit_code == code
        assert caught.value.message.endswith(words)
        assert "OCI runtime create failed" in caught.value.message
        assert not os.path.exists(f"{bench.directory}/run/{workload.id}")

    on_bench(act)


def test_a_mount_that_fails_is_named() -> None:
    async def act(bench: Bench) -> None:
        missing = bind("/no/such/source", "/data")
        with pytest.raises(CannotStart, match="bind /no/such/source on /data: no such file"):
            await bench.start(bench.workload("true", mounts=(missing,)))
        wrong = bind("/etc/hostname", "/etc")
        with pytest.raises(CannotStart, match="not a directory: unknown: Are you trying to mount"):
            await bench.start(bench.workload("true", mounts=(wrong,)))

    on_bench(act)


def test_the_user_is_looked_up_in_the_image() -> None:
    async def act(bench: Bench) -> None:
        seen = await bench.shell("id -u; id -G; echo $HOME", user="www-data")
        assert seen.split("\n")[:3] == ["33", "33 50", "/var/www"]
        seen = await bench.shell("id -u; id -G; echo $HOME", user="1000:50")
        assert seen.split("\n")[:3] == ["1000", "50", "/"]
        with pytest.raises(CannotStart) as caught:
            await bench.run("true", user="foo")
        assert caught.value.message == (
            "unable to find user foo: no matching entries in passwd file"
        )

    on_bench(act)


def test_a_passwd_that_is_a_pipe_is_not_waited_for() -> None:
    async def act(bench: Bench) -> None:
        os.unlink(f"{bench.image}/etc/passwd")
        os.mkfifo(f"{bench.image}/etc/passwd")
        seen = await bench.shell("grep Uid /proc/self/status", user="12")
        assert seen.split()[1] == "12"

    on_bench(act)


def test_a_user_above_the_range_is_mapped_too() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "id -u; touch /tmp/mine", user="100000")
        await bench.start(workload)
        assert (await bench.ended(workload)).exit_code == 0
        assert bench.log(workload).strip() == "100000"
        assert os.stat(bench.upper(workload, "/tmp/mine")).st_uid == 100000

    on_bench(act)


@pytest.mark.parametrize("host", [HostConfig(), HostConfig(userns_mode="host")])
def test_any_user_may_open_its_stdout_anew(host: HostConfig) -> None:
    async def act(bench: Bench) -> None:
        script = "echo out > /dev/stdout; echo err > /dev/stderr"
        assert await bench.shell(script, user="1000", host=host) == "out\nerr\n"

    on_bench(act)


def test_a_device_node_in_an_image_opens_nothing() -> None:
    async def act(bench: Bench) -> None:
        os.mknod(f"{bench.image}/zero", 0o20666, os.makedev(1, 5))
        code, output = await bench.run("sh", "-c", "head -c 1 /zero")
        assert (code, "Permission denied" in output) == (1, True)
        assert await bench.shell("head -c 3 /dev/zero | wc -c") == "3\n"

    on_bench(act)


def test_masked_paths_are_empty_and_read_only_paths_refuse_writing() -> None:
    async def act(bench: Bench) -> None:
        script = (
            "cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l;"
            "echo 1 2>/dev/null > /proc/sys/kernel/panic || echo refused;"
            "for directory in /sys/fs/cgroup /sys/fs/cgroup/memory; do"
            " mkdir $directory/x 2>/dev/null || echo refused; done"
        )
        assert (await bench.shell(script)).split() == ["0", "0"] + ["refused"] * 3

    on_bench(act)


def test_capabilities_seccomp_and_descriptors_are_dockers() -> None:
    async def act(bench: Bench) -> None:
        script = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; ls /proc/self/fd | wc -w"
        seen = (await bench.shell(script)).split()
        assert (
            seen
            == (
                "CapInh: 0000000000000000 CapPrm: 00000000a80425fb CapEff: 00000000a80425fb "
                "CapBnd: 00000000a80425fb CapAmb: 0000000000000000 NoNewPrivs: 0 Seccomp: 2 4"
            ).split()
        )
        of_user = (await bench.shell(script, user="1000")).split()
        assert of_user[3] == of_user[5] == "0000000000000000"

    on_bench(act)


def test_no_new_privileges_holds() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(security_opt=("no-new-privileges",))
        seen = await bench.shell("grep -E 'NoNewPrivs|Seccomp:' /proc/self/status", host=host)
        assert seen.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]

    on_bench(act)


def test_limits_reach_the_program_and_an_impossible_one_is_named() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(ulimits=(Ulimit("nofile", 100, 200),))
        assert (await bench.shell("ulimit -Sn; ulimit -Hn", host=host)).split() == ["100", "200"]

    on_bench(act)


def test_a_read_only_root_refuses_writing_and_tmpfs_does_not() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(readonly_rootfs=True, tmpfs={"/tmp": ""})
        code, output = await bench.run("sh", "-c", "touch /tmp/x && touch /x", host=host)
        assert (code, "Read-only file system" in output) == (1, True)

    on_bench(act)


def test_bind_mounts_look_as_on_the_host_and_are_written_as_root() -> None:
    async def act(bench: Bench) -> None:
        source = f"{bench.directory}/shared"
        os.mkdir(source)
        os.mkdir(f"{source}/of-1000")
        os.chown(f"{source}/of-1000", 1000, 1000)
        script = (
            "touch /data/new; stat -c %u /data/of-1000; touch /ro/x 2>/dev/null || echo refused"
        )
        mounts = (bind(source, "/data"), bind(source, "/ro", rw=False))
        assert (await bench.shell(script, mounts=mounts)).split() == ["1000", "refused"]
        assert os.stat(f"{source}/new").st_uid == 0

    on_bench(act)


def test_the_whole_host_can_be_bound() -> None:
    async def act(bench: Bench) -> None:
        script = "ls /host/proc/1 | wc -l; ls /host"
        listed = await bench.shell(script, mounts=(bind("/", "/host"),))
        assert "usr" in listed.split()

    on_bench(act)


def test_links_in_an_image_lead_mounts_nowhere_else() -> None:
    async def act(bench: Bench) -> None:
        os.symlink("/../../../escape/deep", f"{bench.image}/link")
        source = f"{bench.directory}/shared"
        os.mkdir(source)
        seen = await bench.shell("ls -d /escape/deep", mounts=(bind(source, "/link"),))
        assert seen.strip() == "/escape/deep"
        assert not os.path.exists("/escape")

    on_bench(act)


def test_a_mount_through_a_link_into_proc_is_refused() -> None:
    async def act(bench: Bench) -> None:
        os.symlink("/proc/self/attr", f"{bench.image}/innocent")
        source = f"{bench.directory}/shared"
        os.mkdir(source)
        with pytest.raises(CannotStart, match="operation not permitted"):
            await bench.run("true", mounts=(bind(source, "/innocent"),))

    on_bench(act)


def test_a_missing_working_directory_is_made() -> None:
    async def act(bench: Bench) -> None:
        assert (await bench.shell("pwd", working_dir="/a/b")).strip() == "/a/b"
        with pytest.raises(CannotStart, match=r'chdir to cwd \("/etc/passwd"\)'):
            await bench.run("true", working_dir="/etc/passwd")

    on_bench(act)


def test_a_working_directory_through_a_descriptor_of_ours_is_refused() -> None:
    async def act(bench: Bench) -> None:
        for number in range(3, 12):
            with pytest.raises(CannotStart):
                await bench.run("true", working_dir=f"/proc/self/fd/{number}")

    on_bench(act)


def test_privileged_has_the_hosts_devices_and_all_capabilities() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(privileged=True)
        seen = await bench.shell("ls /dev/vda; grep CapBnd /proc/self/status", host=host)
        assert seen.split()[0] == "/dev/vda"

    on_bench(act)


def test_network_and_pid_of_the_host_are_the_hosts() -> None:
    async def act(bench: Bench) -> None:
        seen = await bench.shell("readlink /proc/self/ns/net", host=HostConfig(network_mode="host"))
        assert seen.strip() == os.readlink("/proc/self/ns/net")
        seen = await bench.shell("readlink /proc/self/ns/pid", host=HostConfig(pid_mode="host"))
        assert seen.strip() == os.readlink("/proc/self/ns/pid")

    on_bench(act)


def test_everything_ends_with_the_first_process_without_a_pid_namespace_too() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload(
            "sh", "-c", "sleep 1000 & echo $!", host=HostConfig(pid_mode="host")
        )
        await bench.start(workload)
        await bench.ended(workload)
        assert not os.path.exists(f"/proc/{bench.log(workload).strip()}")

    on_bench(act)


def test_a_container_joins_the_network_and_pids_of_another() -> None:
    async def act(bench: Bench) -> None:
        first = bench.workload("sleep", "100")
        created = await bench.start(first)
        seen = await bench.shell(
            "readlink /proc/self/ns/net; ps | grep -c 'sleep 100'; touch /x; stat -c %u /x",
            host=HostConfig(network_mode="container:x", pid_mode="container:x"),
            join_pids={"network": created.pid, "pid": created.pid},
            id_range=first.id_range,
        )
        network, found, owner = seen.split()
        assert network == os.readlink(f"/proc/{created.pid}/ns/net")
        assert (int(found) >= 1, owner) == (True, "0")

    on_bench(act)


def test_sysctls_are_set_in_the_namespaces_of_the_container() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(sysctls={"net.ipv4.ip_forward": "1", "kernel.shmmax": "4096"})
        seen = await bench.shell(
            "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax "
            "/proc/sys/net/ipv4/ping_group_range",
            host=host,
        )
        assert seen.split() == ["1", "4096", "0", "65535"]

    on_bench(act)


def test_a_descriptor_that_is_held_lives_as_long_as_the_container() -> None:
    async def act(bench: Bench) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        workload = bench.workload("sleep", "100")
        with listener:
            await bench.runtime.create(workload, hold=[listener.fileno()])
        await bench.runtime.start(workload.id)
        socket.create_connection(("127.0.0.1", port)).close()
        await bench.runtime.kill(workload.id, 9)
        await bench.ended(workload)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    on_bench(act)


def test_out_of_memory_is_told() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(memory=16 * 1024 * 1024, memory_swap=16 * 1024 * 1024)
        workload = bench.workload("sh", "-c", "x=a; while :; do x=$x$x; done", host=host)
        await bench.start(workload)
        ended = await bench.ended(workload)
        assert (ended.exit_code, ended.oom_killed) == (137, True)

    on_bench(act)


def test_a_paused_container_stands_still_and_can_be_killed() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        created = await bench.start(workload)
        await bench.runtime.pause(workload.id)
        assert created.pid in await bench.runtime.pids(workload.id)
        await bench.runtime.unpause(workload.id)
        await bench.runtime.pause(workload.id)
        await bench.runtime.kill(workload.id, 9)
        assert (await bench.ended(workload)).exit_code == 137

    on_bench(act)


def test_orphans_become_no_zombies() -> None:
    async def act(bench: Bench) -> None:
        script = "for i in 1 2 3; do sh -c 'sleep 0 &' ; done; exec sleep 100"
        workload = bench.workload("sh", "-c", script, host=HostConfig(pid_mode="host"))
        created = await bench.start(workload)
        shim = parent_of(created.pid)
        seen: list[set[int]] = []
        for number in range(3):  # one that is ending at this moment is not one that stays
            await bench.exec(workload, "true", attachment=None, exec_id=f"x{number}")
            await bench.ended(workload, f"x{number}")
            seen.append({pid for pid in _children_of(shim) if _state_of(pid) == "Z"})
        assert not set.intersection(*seen)

    on_bench(act)


def parent_of(pid: int) -> int:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def _children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(child) for child in file.read().split()]


def _state_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "gone"


def test_the_log_is_dockers_and_rotates() -> None:
    async def act(bench: Bench) -> None:
        log = LogTarget(f"{bench.directory}/rotating", max_size_bytes=50_000, max_files=3)
        code, _ = await bench.run("sh", "-c", "seq 1 4000", log=log)
        assert code == 0
        assert sorted(n for n in os.listdir(bench.directory) if n.startswith("rotating")) == [
            "rotating",
            "rotating.1",
            "rotating.2",
        ]

    on_bench(act)


def test_the_same_container_starts_again() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sh", "-c", "echo x >> /count; wc -l < /count")
        for _ in range(3):
            bench.exits.clear()
            await bench.start(workload)
            await bench.ended(workload)
            await bench.runtime.remove(workload.id)
        assert bench.log(workload).split() == ["1", "2", "3"]

    on_bench(act)


def test_a_container_that_was_only_created_can_be_removed() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("true")
        created = await bench.runtime.create(workload)
        await bench.runtime.remove(workload.id)
        assert not os.path.exists(f"/proc/{created.pid}")
        await bench.runtime.remove(workload.id)

    on_bench(act)


def test_a_large_environment_arrives_whole() -> None:
    async def act(bench: Bench) -> None:
        env = (*bench_env(), "BIG=" + "x" * 120_000)
        assert await bench.shell("echo ${#BIG}", env=env) == "120000\n"

    on_bench(act)


def bench_env() -> tuple[str, ...]:
    return ("PATH=/bin",)


def test_init_buries_what_the_program_does_not() -> None:
    async def act(bench: Bench) -> None:
        seen = await bench.shell("readlink /proc/1/exe; echo $$", host=HostConfig(init=True))
        program, pid = seen.split()
        assert program == "/sbin/docker-init"
        assert int(pid) > 1

    on_bench(act)


def test_old_kernels_overlay_by_path_gives_the_same_root() -> None:
    async def act(bench: Bench) -> None:
        workload = bench.workload("sleep", "100")
        created = await bench.start(workload)
        script = (
            "import os, sys\n"
            "from tiffin.runtime import mountwords, operations, rootfs\n"
            "base, pid, start = sys.argv[1], sys.argv[2], int(sys.argv[3])\n"
            "os.makedirs(base + '/old/fs'); os.makedirs(base + '/old/work')\n"
            "os.makedirs(base + '/scratch')\n"
            "ids = rootfs.Ids([{'containerID': 0, 'hostID': start, 'size': 65536}],"
            " os.open(f'/proc/{pid}/ns/user', os.O_RDONLY))\n"
            "overlay = {'lower': [base + '/snapshots/1/fs'], 'upper': base + '/old/fs',"
            " 'work': base + '/old/work', 'idmap': True}\n"
            "before = open('/proc/self/mountinfo').read()\n"
            "made = operations.MakeOverlay(overlay, mountwords.NODEV)\n"
            "fd = rootfs._overlay_by_path(made, ids, base + '/scratch')\n"
            "assert open('/proc/self/mountinfo').read() == before\n"
            "assert os.stat('bin/busybox', dir_fd=fd).st_uid == start\n"
            "from tiffin.kernel import syscalls\n"
            "syscalls.prctl(28, 4); syscalls.setfsids(start, start)\n"
            "os.mkdir('made', dir_fd=fd)\n"
            "syscalls.setfsids(0, 0)\n"
            "assert os.stat(base + '/old/fs/made').st_uid == 0\n"
        )
        assert workload.id_range is not None
        arguments = [bench.directory, str(created.pid), str(workload.id_range.start)]
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, *arguments)
        assert await process.wait() == 0

    on_bench(act)


def test_an_empty_image_is_its_upper_directory_alone() -> None:
    async def act(bench: Bench) -> None:
        base = f"{bench.directory}/snapshots/scratch"
        os.makedirs(f"{base}/fs/bin")
        os.makedirs(f"{base}/work")
        shutil.copy("/bin/busybox", f"{base}/fs/bin/sh")
        overlay = Overlay((), f"{base}/fs", f"{base}/work")
        code, output = await bench.run("sh", "-c", "echo hi; echo x > /made", rootfs=overlay)
        assert (code, output) == (0, "hi\n")
        assert os.stat(f"{base}/fs/made").st_uid == 0

    on_bench(act)
