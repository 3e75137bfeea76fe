"""Where mounts land: links in images and volumes, forged devices and forged procfs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.kernel.runtime_bench import Bench, bind
from tests.live import LiveDaemon
from tests.threats.arena import outcome
from tiffin.core.container import HostConfig
from tiffin.core.workload import Overlay
from tiffin.errors import CannotStart
from tiffin.runtime import init, operations, rootfs

pytestmark = pytest.mark.root


def link(bench: Bench, path: str, target: str) -> None:
    """A link in the image in the place of whatever is there."""
    whole = f"{bench.image}{path}"
    if os.path.isdir(whole) and not os.path.islink(whole):
        shutil.rmtree(whole)
    elif os.path.lexists(whole):
        os.unlink(whole)
    os.symlink(target, whole)


@pytest.mark.threat("mount-target")
def test_a_mount_target_behind_a_link_stays_in_the_root(tmp_path: Path) -> None:
    """A link in the image, or in a volume that another container writes, turns a mount's target
    into a path of the host (CVE-2021-30465, CVE-2017-1002101).

    Defence: targets are resolved by openat2 inside the root, made there, and mounted on by
    descriptor (runtime.targets).
    Seen to fail: with targets found by their letters a directory is made on the host.
    """

    async def attack(bench: Bench) -> bool:
        link(bench, "/data", str(tmp_path))
        mount = bind(bench.directory, "/data/made")
        await bench.run("true", mounts=(mount,), host=HostConfig(userns_mode="host"))
        return (tmp_path / "made").exists()

    assert outcome(attack) is False
    assert outcome(attack, without="letters") is True


@pytest.mark.threat("mount-target")
def test_a_volumes_subpath_is_resolved_when_it_is_mounted(daemon: LiveDaemon) -> None:
    """Between the creation and the start of a container another one turns the subpath of their
    volume into a link to the host (CVE-2021-25741, CVE-2017-1002101).

    Defence: the subpath is kept as it was asked for and resolved inside the volume, by
    descriptor, at each start.
    Seen to fail: with the path resolved at creation, as it was at first, a start never looks at
    what the link has become (and found nothing: it resolved the rest a second time).
    """
    run = daemon.tiffin  # older docker CLIs do not know the word
    busybox = ("run", "--rm", "-v", "shared:/v", "busybox", "sh", "-c")
    run(*busybox, "mkdir /v/part; touch /v/part/inside")
    mount = "type=volume,src=shared,dst=/data,volume-subpath=part"
    run("create", "--name", "late", "--mount", mount, "busybox", "ls", "/data")
    assert run("start", "-a", "late").stdout == "inside\n"
    run(*busybox, "mv /v/part /v/moved; ln -s /etc /v/part; mkdir /v/etc; touch /v/etc/volumes")
    assert run("start", "-a", "late").stdout == "volumes\n"
    run("rm", "late")


@pytest.mark.threat("kernel-file-systems")
@pytest.mark.parametrize("path", ["/proc", "/sys", "/dev"])
def test_the_kernels_file_systems_are_mounted_on_ordinary_directories(path: str) -> None:
    """An image's /proc is a link: whoever turns it between two steps has procfs in one place and
    its masks in another (CVE-2019-19921, CVE-2023-27561, CVE-2026-41579 for /dev).

    Defence: their targets are resolved without following any link, and masks below /proc are
    resolved from our own procfs.
    Seen to fail: with links allowed the container starts, procfs lying at /tmp.
    """

    async def attack(bench: Bench) -> str:
        link(bench, path, "tmp")
        try:
            return await bench.shell("cat /proc/self/mounts || cat /tmp/self/mounts")
        except CannotStart as error:
            return error.message

    refused = outcome(attack)
    assert refused.endswith(f"on {path}: {path} is, or lies behind, a symbolic link: unknown")
    assert " /tmp " in outcome(attack, without="ordinary")


@pytest.mark.threat("masks")
def test_nothing_but_the_null_device_masks(tmp_path: Path) -> None:
    """A file is masked with /dev/null; where the container's /dev is the attacker's and null a
    link, the path is not hidden, or shows another (CVE-2025-31133).

    Defence: the descriptor of the tmpfs that we made, or a check of type and number.
    Seen to fail: without the check the file in null's place is read at the masked path.
    """
    forged = tmp_path / "dev"
    forged.mkdir()
    (forged / "null").write_text("forged\n")

    async def attack(bench: Bench) -> str:
        try:
            return await bench.shell("cat /proc/timer_list", mounts=(bind(str(forged), "/dev"),))
        except CannotStart as error:
            return error.message

    assert "mask /proc/" in outcome(attack)
    assert outcome(attack, without="null_device") == "forged\n"


@pytest.mark.threat("masks")
def test_the_console_is_not_mounted_over_what_a_link_names(tmp_path: Path) -> None:
    """/dev/console as a link puts the terminal over a file that is masked later, or should be
    written by nobody (CVE-2025-52565).

    Defence: the terminal is opened by the pty's own descriptor and mounted on a /dev/console
    that is no link.
    Seen to fail: with links allowed the terminal lies over the file that the link names.
    """
    forged = tmp_path / "dev"
    (forged / "pts").mkdir(parents=True)
    (forged / "null").touch()
    os.unlink(forged / "null")
    os.mknod(forged / "null", 0o20666, os.makedev(1, 3))
    (forged / "console").symlink_to("/etc/passwd")
    devpts = {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    }

    def with_terminals(config: dict[str, object]) -> None:
        mounts = config["mounts"]
        assert isinstance(mounts, list)
        mounts.append(devpts)

    async def attack(bench: Bench) -> str:
        mounts = (bind(str(forged), "/dev"),)
        try:
            return (await bench.run("stat", "-c", "%F", "/etc/passwd", mounts=mounts, tty=True))[
                1
            ].strip()
        except CannotStart as error:
            return error.message

    assert "open /dev/console" in outcome(attack, plan=with_terminals)
    weak = outcome(attack, plan=with_terminals, without="ordinary")
    assert weak == "character special file"


@pytest.mark.threat("forged-procfs")
def test_nothing_is_mounted_inside_proc(tmp_path: Path) -> None:
    """A bind over a path of /proc has a later write (an LSM's label, a sysctl) go elsewhere
    (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881).

    Defence: such targets are refused by name (operations.check_target), and a link that leads
    there by the device of what it leads to (building._check_target).
    Seen to fail: without the second check the mount behind the link succeeds.
    """
    (tmp_path / "forged").write_text("")

    async def attack(bench: Bench, target: str = "/innocent") -> bool:
        link(bench, "/innocent", "/proc/sys/kernel/hostname")
        try:
            await bench.run("true", mounts=(bind(str(tmp_path / "forged"), target),))
        except CannotStart:
            return False
        return True

    with pytest.raises(operations.InvalidConfig, match="inside /proc"):
        operations.check_target("/proc/self/attr/exec", "bind")
    assert outcome(attack) is False
    assert outcome(attack, without="procfs_targets") is True


@pytest.mark.threat("forged-procfs")
def test_a_sysctl_is_written_to_our_own_procfs_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sysctl that is set through a path of the container's lands in core_pattern or
    sysrq-trigger (CVE-2023-28642, CVE-2025-52881).

    Defence: sysctls go through the /proc/sys of the procfs that we mounted ourselves, without
    links and without leaving it.
    Seen to fail: opened by its path, the forged one leads to the victim.
    """
    victim = tmp_path / "core_pattern"
    victim.write_text("core")
    forged = tmp_path / "sys" / "net"
    forged.mkdir(parents=True)
    (forged / "x").symlink_to(victim)
    directory = os.open(tmp_path / "sys", os.O_RDONLY)
    plan: list[operations.Operation] = [operations.SetSysctl("net.x", "|/evil")]
    with pytest.raises(init.Failure, match=r"set sysctl net\.x"):
        init.apply_sysctls(directory, plan)
    assert victim.read_text() == "core"

    def by_path(dir_fd: int, path: str, flags: int, *, resolve: int) -> int:
        return os.open(path, flags, dir_fd=dir_fd)

    monkeypatch.setattr(init.mounts, "openat2", by_path)
    init.apply_sysctls(directory, plan)
    os.close(directory)
    assert victim.read_text() == "|/evil"


FOLLOWS = Path("/sys/module/overlay/parameters/redirect_always_follow")


@pytest.mark.threat("overlay-attributes")
@pytest.mark.skipif(
    not FOLLOWS.exists() or FOLLOWS.read_text() != "Y\n",
    reason="overlayfs follows no redirect here, whatever it is told",
)
def test_a_redirect_that_is_in_a_layer_nevertheless_is_not_followed() -> None:
    """An attribute in a layer makes overlayfs show another directory of the layers below, as in
    its author's; by a store that somebody else has unpacked, or a file system that was restored.

    Defence: overlays are mounted with redirect_dir=nofollow, metacopy=off and index=off.
    Seen to fail: without these the directory shows the other one's files.
    """

    async def attack(bench: Bench) -> str:
        above = f"{bench.directory}/snapshots/above"
        os.makedirs(f"{above}/shown")
        os.makedirs(f"{bench.image}/hidden")
        Path(f"{bench.image}/hidden/secret").touch()
        os.setxattr(f"{above}/shown", "trusted.overlay.redirect", b"/hidden")
        layers = Overlay((above, bench.image), f"{bench.directory}/u", f"{bench.directory}/w")
        os.mkdir(layers.upper)
        os.mkdir(layers.work)
        return (await bench.run("ls", "/shown", rootfs=layers))[1]

    assert {("redirect_dir", "nofollow"), ("metacopy", "off")} <= set(rootfs._OVERLAY_OPTIONS)
    assert outcome(attack) != "secret\n"
    assert outcome(attack, without="redirects") == "secret\n"


@pytest.mark.threat("read-only-below")
def test_a_read_only_bind_is_so_with_everything_mounted_below(tmp_path: Path) -> None:
    """`-v /srv:/srv:ro` leaves what is mounted below /srv writable where only the topmost mount
    is made read-only.

    Defence: mount_setattr with AT_RECURSIVE on the detached copy.
    Seen to fail: with the topmost mount alone, the file is made.
    """
    below = tmp_path / "below"
    below.mkdir()
    init.mounts.mount("tmpfs", str(below), "tmpfs")

    async def attack(bench: Bench) -> bool:
        code, _ = await bench.run("touch", "/srv/below/new", mounts=(read_only,))
        return code == 0

    read_only = bind(str(tmp_path), "/srv", rw=False)
    try:
        assert outcome(attack) is False
        assert outcome(attack, without="below_read_only") is True
    finally:
        init.mounts.umount(str(below))


@pytest.mark.threat("host-mounts")
def test_mounts_that_a_container_makes_do_not_reach_the_host(tmp_path: Path) -> None:
    """With shared propagation a mount made inside appears on the host, and the other way round.

    Defence: every mount is private unless a volume was asked to be shared.
    Seen to fail: with the bind planned as shared the host has the container's tmpfs.
    """
    init.mounts.mount("tmpfs", str(tmp_path), "tmpfs")
    init.mounts.mount(None, str(tmp_path), None, 1 << 20)  # MS_SHARED
    (tmp_path / "point").mkdir()

    def shared(config: dict[str, list[dict[str, list[str]]]]) -> None:
        for mount in config["mounts"]:
            if mount["destination"] == "/out":
                mount["options"] = ["rbind", "rshared"]

    async def attack(bench: Bench) -> bool:
        host = HostConfig(
            cap_add=("SYS_ADMIN",),
            userns_mode="host",
            security_opt=("seccomp=unconfined", "apparmor=unconfined"),
        )
        script = "mount -t tmpfs inside /out/point && touch /out/point/seen"
        mounts = (bind(str(tmp_path), "/out"),)
        workload = bench.workload("sh", "-c", script + "; sleep 1000", host=host, mounts=mounts)
        await bench.start(workload)
        _, peer = await bench.exec(workload, "sh", "-c", "until [ -e /out/point/seen ]; do :; done")
        assert peer is not None
        await peer.read()
        return (tmp_path / "point" / "seen").exists()

    try:
        assert outcome(attack) is False
        assert outcome(attack, plan=shared) is True
    finally:
        while os.path.ismount(tmp_path / "point"):
            init.mounts.umount(str(tmp_path / "point"))
        init.mounts.umount(str(tmp_path))
