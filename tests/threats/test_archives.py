"""Layers and other archives: names, links, whiteouts, attributes and sizes meant to do harm."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest

from tests.imagebench import tar_of
from tests.unit.storage.archives import Item, archive, directory, file, hard_link, symlink
from tiffin.core.image import Descriptor, Digest
from tiffin.errors import InvalidArgument
from tiffin.storage import jail, tar
from tiffin.storage.blobs import BlobStore, ContentMismatch
from tiffin.storage.unpack import APPLY, OVERLAY, Unpacker

pytestmark = pytest.mark.root


class House:
    """A directory to unpack into, and what lies beside it: a file and a full directory."""

    def __init__(self, path: Path) -> None:
        self.root = path / "root"
        self.victim = path / "victim"
        self.full = path / "full"
        for folder in (self.root, self.full):
            folder.mkdir(parents=True)
        self.victim.write_text("safe")
        self.victim.chmod(0o600)
        (self.full / "kept").write_text("")
        self.full.chmod(0o700)

    def harm(self) -> list[str]:
        """What was done to the neighbours."""
        status = self.victim.lstat() if self.victim.exists() else None
        signs = {
            "gone": status is None,
            "written": status is not None and self.victim.read_text() != "safe",
            "mode": self.full.exists() and stat.S_IMODE(self.full.stat().st_mode) != 0o700,
            "linked": status is not None and status.st_nlink != 1,
            "emptied": not (self.full / "kept").exists(),
            "new": len(os.listdir(self.root.parent)) != 3 - (status is None),
        }
        return [name for name, happened in signs.items() if happened]


def unpacked(house: House, data: bytes, whiteouts: str = OVERLAY) -> None:
    """As a layer is, but without the jail around it."""
    fd = os.open(house.root, os.O_RDONLY | os.O_DIRECTORY)
    mask = os.umask(0)
    try:
        reader = tar.Reader(tar.Source(iter([data])))
        Unpacker(fd, whiteouts=whiteouts, owner=(os.geteuid(), os.getegid())).unpack(reader)
    except InvalidArgument:
        pass
    finally:
        os.umask(mask)
        os.close(fd)


def naively(house: House, data: bytes, whiteouts: str = OVERLAY) -> None:
    """The double: names are joined to the root, links are followed, nothing is asked."""
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        for member in found:
            path = f"{house.root}/{member.name}"
            parent, name = os.path.split(path)
            if name == ".wh..wh..opq":
                for entry in os.listdir(parent):
                    os.unlink(os.path.join(parent, entry))
            elif name.startswith(".wh."):
                shutil.rmtree(os.path.join(parent, name[4:]), ignore_errors=True)
                if os.path.isfile(os.path.join(parent, name[4:])):
                    os.unlink(os.path.join(parent, name[4:]))
            elif member.issym():
                os.symlink(member.linkname, path)
            elif member.islnk():
                os.link(f"{house.root}/{member.linkname}", path)
            elif member.isdir():
                os.makedirs(path, exist_ok=True)
                os.chmod(path, member.mode)
            else:
                contents = found.extractfile(member)
                assert contents is not None
                with open(path, "wb") as out:
                    out.write(contents.read())
                os.chmod(path, member.mode)


ESCAPES: dict[str, tuple[Item, ...]] = {
    "a name that climbs": (file("../new", b"evil"),),
    "a file over a link": (symlink("l", "../victim"), file("l", b"evil")),
    "through a link to a directory": (symlink("d", ".."), file("d/new", b"evil")),
    "through a link upon a link": (
        symlink("a", ".."),
        symlink("b", "a"),
        file("b/new", b"evil"),
    ),
    "a hard link outside": (hard_link("h", "../victim"),),
    "a hard link through a link": (symlink("d", ".."), hard_link("h", "d/victim")),
    "a mode through a link": (symlink("l", "../full"), directory("l", 0o777)),
    "a whiteout that climbs": (symlink("d", ".."), file("d/.wh.victim")),
    "a whiteout of dots": (file(".wh..."),),
    "an opaque mark through a link": (symlink("d", "../full"), file("d/.wh..wh..opq")),
}


@pytest.mark.threat("layer-paths")
@pytest.mark.parametrize("whiteouts", [OVERLAY, APPLY])
@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_an_archive_does_nothing_outside_its_root(
    tmp_path: Path, escape: tuple[Item, ...], whiteouts: str
) -> None:
    """Names with `..`, links, hard links, modes and whiteouts that lead out of the directory that
    a layer is unpacked into (CVE-2014-6407, -9356, -9357, CVE-2021-32760, CVE-2025-47290).

    Defence: each part of each name is resolved inside the root by the kernel, the last one is
    never followed; whiteouts are unlinked on the parent that is held (storage.unpack); and all of
    it in a chrooted child (storage.jail).
    Seen to fail: a double that joins names does the harm, each time another.
    """
    ours, double = House(tmp_path / "ours"), House(tmp_path / "double")
    data = archive(*escape)

    unpacked(ours, data, whiteouts)
    naively(double, data)

    assert ours.harm() == []
    assert double.harm() != []


@pytest.mark.threat("overlay-attributes")
@pytest.mark.parametrize(
    "name",
    ["trusted.overlay.redirect", "trusted.overlay.metacopy", "user.overlay.opaque"],
)
def test_attributes_that_steer_overlayfs_are_left_out(tmp_path: Path, name: str) -> None:
    """An attribute in a layer makes overlayfs show another directory, or a file's content of
    another layer.

    Defence: trusted.* and user.overlay.* are not written; overlays are mounted with
    redirect_dir=nofollow and metacopy=off.
    Seen to fail: written by hand, the attribute is there (the file system takes it).
    """
    info, data = file("f", b"x")  # type: ignore[misc]
    info.pax_headers = {f"SCHILY.xattr.{name}": "/etc"}
    house = House(tmp_path)

    unpacked(house, archive((info, data)))
    assert os.listxattr(house.root / "f") == []

    if name.startswith("trusted."):
        os.setxattr(house.root / "f", name, b"/etc")
        assert os.listxattr(house.root / "f") == [name]


@pytest.mark.threat("bombs")
def test_a_bomb_ends_at_its_budget_and_leaves_nothing_growing(tmp_path: Path) -> None:
    """A few kilobytes that become gigabytes fill the disk.

    Defence: the uncompressed stream has a budget, by the archive's size and never endless.
    Seen to fail: with a budget as large as the bomb it is unpacked.
    """
    size = 64 << 20
    bomb = gzip.compress(tar_of({"zeros": bytes(size)}))
    assert len(bomb) < 100_000

    def exploded(budget: int) -> bool:
        root = tmp_path / str(budget)
        root.mkdir()
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            jail.unpack(io.BytesIO(bomb), fd, budget_bytes=budget)
        except InvalidArgument as error:
            return "too large" not in error.message
        finally:
            os.close(fd)
        return True

    assert exploded(1 << 20) is False
    assert exploded(size + (1 << 20)) is True


@pytest.mark.threat("digests")
@pytest.mark.parametrize(
    "fault",
    ["another content", "more bytes", "fewer bytes"],
)
def test_nothing_is_visible_that_is_not_what_its_name_says(tmp_path: Path, fault: str) -> None:
    """A registry, or who sits between, sends other bytes than were asked for.

    Defence: size while it is written, digest before the rename that makes a blob visible.
    Seen to fail: with the descriptor of what really comes the blob is there.
    """
    data = b"the blob"
    sent = {"another content": b"THE BLOB", "more bytes": data + b"!", "fewer bytes": data[:-1]}[
        fault
    ]
    store = BlobStore(str(tmp_path))

    def ingest(expected: bytes) -> Digest:
        digest = Digest("sha256:" + hashlib.sha256(expected).hexdigest())
        with store.ingest(Descriptor("application/x", digest, len(expected))) as blob:
            blob.write(sent)
        return digest

    with pytest.raises(ContentMismatch):
        ingest(data)
    assert os.listdir(tmp_path / "blobs" / "sha256") == []
    assert os.listdir(tmp_path / "ingest") == []
    assert store.exists(ingest(sent))


@pytest.mark.threat("digests")
@pytest.mark.parametrize(
    "digest",
    [
        "sha256:../../../etc/passwd",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "md5:" + "a" * 32,
        "sha256:" + "a" * 64 + "/..",
        "",
    ],
)
def test_a_digest_that_is_none_is_never_a_path(tmp_path: Path, digest: str) -> None:
    """A digest is a file's name in the store: one with `..` in it is another file's.

    Defence: one algorithm, 64 lower-case hexadecimal digits, asked before a path is made.
    Seen to fail: a digest by the rule is a path below the store, and no error.
    """
    store = BlobStore(str(tmp_path))

    with pytest.raises(InvalidArgument):
        store.path(digest)
    assert store.path("sha256:" + "a" * 64).startswith(str(tmp_path))
