"""The kernel confines what the plan says; on machines whose kernel has AppArmor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.kernel.runtime_bench import Bench, opened
from tests.live import LiveDaemon
from tiffin.core.container import HostConfig
from tiffin.errors import CannotStart
from tiffin.runtime import apparmor

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not apparmor.enabled(), reason="this kernel has no AppArmor"),
]

CONFINED = "tiffin-default (enforce)\n"
PRINTK = "/proc/sys/kernel/printk"
# The host's ids and no mask: nothing but the profile is in the way.
OPEN = ("systempaths=unconfined",)


def on_bench(act: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opened() as bench:
            assert bench.runtime.facts.apparmor_refusal == ""
            await act(bench)

    asyncio.run(main())


def test_a_program_and_an_exec_run_under_the_default_profile() -> None:
    async def act(bench: Bench) -> None:
        script = "cat /proc/self/attr/current; exec sleep 1000"
        workload = bench.workload("sh", "-c", script)
        await bench.start(workload)
        _, peer = await bench.exec(workload, "cat", "/proc/self/attr/current")
        assert peer is not None
        assert (await peer.frames())[1].decode() == CONFINED
        assert bench.log(workload) == CONFINED

    on_bench(act)


def test_it_holds_with_the_hosts_ids_where_nothing_else_does() -> None:
    async def act(bench: Bench) -> None:
        script = f"cat {PRINTK} > /tmp/p && cat /tmp/p > {PRINTK}"
        for profile, written in (("docker-default", False), ("unconfined", True)):
            host = HostConfig(userns_mode="host", security_opt=(*OPEN, f"apparmor={profile}"))
            code, output = await bench.run("sh", "-c", script, host=host)
            assert (code == 0) is written, output

    on_bench(act)


def test_it_holds_with_no_new_privileges() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(security_opt=("no-new-privileges",))
        assert await bench.shell("cat /proc/self/attr/current", host=host) == CONFINED

    on_bench(act)


def test_a_mount_is_denied_to_who_has_all_capabilities() -> None:
    async def act(bench: Bench) -> None:
        for profile, mounted in ((apparmor.DEFAULT, False), ("unconfined", True)):
            options = ("seccomp=unconfined", f"apparmor={profile}")
            host = HostConfig(cap_add=("ALL",), security_opt=options)
            code, _ = await bench.run("mount", "-t", "tmpfs", "x", "/tmp", host=host)
            assert (code == 0) is mounted

    on_bench(act)


def test_a_profile_that_is_not_loaded_is_named() -> None:
    async def act(bench: Bench) -> None:
        host = HostConfig(security_opt=("apparmor=no-such-profile",))
        with pytest.raises(CannotStart, match="apply AppArmor profile no-such-profile"):
            await bench.run("true", host=host)

    on_bench(act)


def test_the_engine_says_so() -> None:
    with LiveDaemon() as daemon:
        daemon.load_busybox()
        run = daemon.docker
        assert "name=apparmor" in run("info", "-f", "{{.SecurityOptions}}").stdout
        for flags, profile in (((), "tiffin-default"), (("--privileged",), "")):
            run("create", "--name", "one", *flags, "busybox", "true")
            seen = run("inspect", "-f", "{{.AppArmorProfile}}", "one").stdout
            assert seen.strip() == profile
            run("rm", "one")
    assert daemon.leaks() == []
