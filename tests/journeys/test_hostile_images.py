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

FIFO, LINK, DIRECTORY, REGULAR, CHARACTER = (
    tarfile.FIFOTYPE,
    tarfile.SYMTYPE,
    tarfile.DIRTYPE,
    tarfile.REGTYPE,
    tarfile.CHRTYPE,
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
        (Entry("work", FIFO),), 'chdir to cwd ("/work") set in config.json failed', ("-w", "/work")
    ),
    "a volume is at a link to the host": Image(
        (Entry("data", LINK, "/etc/../../../etc"),), "", ("-v", "/data")
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
