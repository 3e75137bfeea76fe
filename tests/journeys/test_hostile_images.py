"""Images that are not meant to run, or to run too well: a clear error and nothing half-made."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.busybox import busybox_tar
from tests.live import LiveDaemon

pytestmark = pytest.mark.root

FIFO, LINK, DIRECTORY, REGULAR, CHARACTER, BLOCK = (
    tarfile.FIFOTYPE,
    tarfile.SYMTYPE,
    tarfile.DIRTYPE,
    tarfile.REGTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
)


class Entry(NamedTuple):
    path: str
    kind: bytes
    target: str = ""
    device: tuple[int, int] = (0, 0)
    text: bytes = b""


class Image(NamedTuple):
    """What takes the place of busybox's, how it is run, and the words of what comes of it."""

    entries: tuple[Entry, ...]
    words: str  # of the error; "" where it runs
    flags: tuple[str, ...] = ()
    command: tuple[str, ...] = ("true",)


PROC_IS_A_LINK = "mount proc on /proc: /proc is, or lies behind, a symbolic link"
NO_USER = "matching entries in passwd file"
# Whatever we have there ourselves by then: "no such file or directory", "not a directory".
NO_DIRECTORY = 'chdir to cwd ("/work") set in config.json failed: no'
OVER_A_FILE = "cannot mount volume over existing file, file exists /data"
WWW = ("-u", "www-data")
IMAGES = {
    "passwd is a pipe": Image((Entry("etc/passwd", FIFO),), "", ("-u", "0")),
    "passwd is a device": Image((Entry("etc/passwd", CHARACTER, "", (1, 5)),), "", ("-u", "0")),
    "passwd is a directory": Image((Entry("etc/passwd", DIRECTORY),), "", ("-u", "0")),
    "passwd is a link to itself": Image((Entry("etc/passwd", LINK, "passwd"),), "", ("-u", "0")),
    "passwd is no text": Image((Entry("etc/passwd", REGULAR, text=bytes(range(256))),), ""),
    "passwd is a pipe and a user is asked for": Image(
        (Entry("etc/passwd", FIFO),), "unable to find user www-data", ("-u", "www-data")
    ),
    "group is a pipe": Image(
        (Entry("etc/group", FIFO),), "unable to find group audio", ("--group-add", "audio")
    ),
    "proc is a link": Image((Entry("proc", LINK, "tmp"),), PROC_IS_A_LINK),
    "proc is a link to the host": Image((Entry("proc", LINK, "/host"),), PROC_IS_A_LINK),
    "proc is a file": Image((Entry("proc", REGULAR),), "mount proc on /proc: not a directory"),
    "sys is a link": Image((Entry("sys", LINK, "proc"),), "mount sysfs on /sys: /sys is, or lies"),
    "dev is a link": Image((Entry("dev", LINK, "etc"),), "mount tmpfs on /dev: /dev is, or lies"),
    "dev is a link to itself": Image((Entry("dev", LINK, "dev"),), "/dev is, or lies behind"),
    "dev is a file": Image((Entry("dev", REGULAR),), "mount tmpfs on /dev: not a directory"),
    "the console is a link": Image((Entry("dev/console", LINK, "/etc/passwd"),), "", ("-t",)),
    "null is a file": Image((Entry("dev/null", REGULAR, text=b"x"),), ""),
    "resolv.conf is a link into proc": Image(
        (Entry("etc/resolv.conf", LINK, "/proc/sys/kernel/core_pattern"),),
        "on /etc/resolv.conf: operation not permitted",
    ),
    "resolv.conf is a link outside": Image(
        (Entry("etc/resolv.conf", LINK, "../../../../run/not-there/resolv.conf"),), ""
    ),
    "hosts is a link to itself": Image(
        (Entry("etc/hosts", LINK, "hosts"),), "on /etc/hosts: too many levels of symbolic links"
    ),
    "hostname is a directory": Image(
        (Entry("etc/hostname", DIRECTORY),), "on /etc/hostname: not a directory"
    ),
    "etc is a file": Image((Entry("etc", REGULAR),), "not a directory"),
    "the program is a pipe": Image(
        (Entry("bin/run", FIFO),), "permission denied", (), ("/bin/run",)
    ),
    "the program is a directory": Image(
        (Entry("bin/run", DIRECTORY),), "is a directory", (), ("/bin/run",)
    ),
    "the program is a link to itself": Image(
        (Entry("bin/run", LINK, "run"),), "too many levels of symbolic links", (), ("/bin/run",)
    ),
    "the program is the engine's": Image(
        (Entry("bin/run", LINK, "/proc/self/exe"),), "no such file", (), ("/bin/run",)
    ),
    "a working directory is a pipe": Image(
        (Entry("work", FIFO),), "Cannot mkdir: /work is not a directory", ("-w", "/work")
    ),
    "a working directory is in a pipe": Image(
        (Entry("work", FIFO),), "mkdir /work/in: not a directory", ("-w", "/work/in")
    ),
    "a volume is at a link to the host": Image(
        (Entry("data", LINK, "/etc/../../../etc"),), "", ("-v", "/data")
    ),
    "passwd is huge": Image(
        (Entry("etc/passwd", REGULAR, text=b"x:x:1:1::/:\n" * 1_500_000),), NO_USER, WWW
    ),
    "passwd has no line": Image((Entry("etc/passwd", REGULAR, text=b"x" * 10**6),), NO_USER, WWW),
    "passwd is the host's": Image(
        (Entry("etc/passwd", LINK, "../../../../etc/passwd"),), NO_USER, ("-u", "nobody")
    ),
    "passwd is a link into proc": Image(
        (Entry("etc/passwd", LINK, "/proc/self/environ"),), NO_USER, WWW
    ),
    "passwd and group lead to each other": Image(
        (Entry("etc/passwd", LINK, "group"), Entry("etc/group", LINK, "passwd")), NO_USER, WWW
    ),
    "a tmpfs is at a link": Image((Entry("data", LINK, "/etc"),), "", ("--tmpfs", "/data")),
    "a tmpfs is at a link into proc": Image(
        (Entry("data", LINK, "/proc/sys"),),
        "mount tmpfs on /data: operation not permitted",
        ("--tmpfs", "/data"),
    ),
    "a tmpfs is at a pipe": Image(
        (Entry("data", FIFO),), "mount tmpfs on /data: not a directory", ("--tmpfs", "/data")
    ),
    "a volume is at a pipe": Image((Entry("data", FIFO),), OVER_A_FILE, ("-v", "/data")),
    "a volume is at a device": Image(
        (Entry("data", CHARACTER, "", (1, 5)),), OVER_A_FILE, ("-v", "/data")
    ),
    "a volume is at a link into proc": Image(
        (Entry("data", LINK, "/proc/sys"),), "on /data: operation not permitted", ("-v", "/data")
    ),
    "a volume is at a link to itself": Image(
        (Entry("data", LINK, "data"),),
        "cannot mount volume at /data: too many levels of symbolic links",
        ("-v", "/data"),
    ),
    "a bind is at a link to a descriptor": Image(
        (Entry("data", LINK, "/proc/self/fd/5"),),
        "mount /tmp on /data: too many levels of symbolic links",
        ("-v", "/tmp:/data"),
    ),
    "a working directory is a link to a descriptor": Image(
        (Entry("work", LINK, "/proc/self/fd/9"),), NO_DIRECTORY, ("-w", "/work")
    ),
    "a working directory is a link to nothing": Image(  # which is made, inside
        (Entry("work", LINK, "/not/there"),), "", ("-w", "/work")
    ),
    "a working directory is a link to itself": Image(
        (Entry("work", LINK, "work"),), "too many levels of symbolic links", ("-w", "/work")
    ),
    "a working directory is a link outside": Image(
        (Entry("work", LINK, "../../../../../etc"),), "", ("-w", "/work")
    ),
    "shm is a link": Image((Entry("dev/shm", LINK, "/etc"),), ""),
    "pts is a link": Image((Entry("dev/pts", LINK, "/etc"),), ""),
    "the cgroups' place is a link": Image((Entry("sys/fs/cgroup", LINK, "/etc"),), ""),
    "the host's files are devices": Image(
        (Entry("etc/hosts", CHARACTER, "", (1, 5)), Entry("etc/resolv.conf", FIFO)), ""
    ),
}


def archive(image: Image) -> bytes:
    """busybox, with some entries and all below them replaced."""
    replaced = {entry.path for entry in image.entries}
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(busybox_tar())) as old,
        tarfile.open(fileobj=out, mode="w") as new,
    ):
        for member in old:
            if not any(
                member.name == path or member.name.startswith(path + "/") for path in replaced
            ):
                new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for entry in image.entries:
            info = tarfile.TarInfo(entry.path)
            info.type, info.linkname, info.mode = entry.kind, entry.target, 0o755
            info.devmajor, info.devminor = entry.device
            info.size = len(entry.text)
            new.addfile(info, io.BytesIO(entry.text))
    return out.getvalue()


@pytest.fixture(scope="module")
def quiet(daemon: LiveDaemon) -> Iterator[LiveDaemon]:
    yield daemon
    assert daemon.docker("run", "--rm", "busybox", "echo", "on").stdout == "on\n"
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES.keys())
def test_a_hostile_image_runs_or_says_why_not(quiet: LiveDaemon, image: Image) -> None:
    run = quiet.docker
    run("import", "-", "hostile", input=archive(image), text=False)

    # Not from the network: its files are what is wrong with some of them.
    finished = run("run", "--rm", *image.flags, "hostile", *image.command, check=False)

    said = finished.stderr.lower()
    if image.words:
        assert finished.returncode in (125, 126, 127, 255)  # the last: the kernel said so at exec
        assert image.words.lower() in said
    else:
        # A program that has started may well not like what it finds.
        assert finished.returncode in (0, 1), said
    assert run("ps", "-aq").stdout == ""


def test_device_nodes_of_an_image_open_nothing(quiet: LiveDaemon) -> None:
    """The host's memory, its kernel log, its first disk: the nodes are there, and are no use."""
    nodes = (
        Entry("nodes/mem", CHARACTER, "", (1, 1)),
        Entry("nodes/kmsg", CHARACTER, "", (1, 11)),
        Entry("nodes/loop", BLOCK, "", (7, 0)),
        Entry("nodes/disk", BLOCK, "", (8, 0)),
        Entry("nodes/fuse", CHARACTER, "", (10, 229)),
    )
    quiet.docker("import", "-", "hostile", input=archive(Image(nodes, "")), text=False)
    script = (
        "ls /nodes; for node in /nodes/*; do ( : < $node ) 2>/dev/null && echo open; done; true"
    )
    plain = quiet.docker("run", "--rm", "hostile", "sh", "-c", script).stdout
    by_host_ids = quiet.docker("run", "--rm", "--userns=host", "hostile", "sh", "-c", script).stdout
    assert plain.split() == by_host_ids.split() == ["disk", "fuse", "kmsg", "loop", "mem"]
