"""The build context: what goes along, in which form, and that it is always the same."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from tiffin.cli.context import FOREIGN_DOCKERFILE, LocalContext, is_archive, single_dockerfile
from tiffin.cli.failures import CommandFailed


def archive_of(context: LocalContext) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(b"".join(context.stream())))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "ctx"
    (root / "docs" / "deep").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "docs" / "README").write_text("read me\n")
    (root / "docs" / "notes").write_text("x\n")
    (root / "docs" / "deep" / "file").write_bytes(b"y" * 1000)
    (root / "link").symlink_to("docs/README")
    return root


def test_everything_goes_along_sorted_and_owned_by_root(tree: Path) -> None:
    members = archive_of(LocalContext(str(tree), "")).getmembers()

    names = ["Dockerfile", "docs", "docs/README", "docs/deep", "docs/deep/file", "docs/notes"]
    assert [member.name for member in members] == [*names, "link"]
    assert {(member.uid, member.gid) for member in members} == {(0, 0)}
    assert members[-1].linkname == "docs/README"


def test_the_same_tree_gives_the_same_bytes(tree: Path) -> None:
    first = b"".join(LocalContext(str(tree), "").stream())

    assert b"".join(LocalContext(str(tree), "").stream()) == first


def test_contents_and_modes_are_kept(tree: Path) -> None:
    os.chmod(tree / "docs" / "notes", 0o4751)
    archive = archive_of(LocalContext(str(tree), ""))

    file = archive.extractfile("docs/deep/file")
    assert file is not None
    assert file.read() == b"y" * 1000
    assert archive.getmember("docs/notes").mode == 0o4751


def test_ignored_paths_stay_but_what_the_daemon_needs_and_exceptions_go(tree: Path) -> None:
    (tree / ".dockerignore").write_text("docs\n!docs/deep/file\nDockerfile\n.dockerignore\n")

    names = archive_of(LocalContext(str(tree), "")).getnames()

    assert names == [".dockerignore", "Dockerfile", "docs/deep/file", "link"]


def test_a_dockerfile_from_elsewhere_goes_along_under_another_name(
    tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "Other").write_text("FROM other\n")
    (tree / ".dockerignore").write_text("docs")
    context = LocalContext(str(tree), str(tmp_path / "Other"))
    archive = archive_of(context)

    assert context.dockerfile == FOREIGN_DOCKERFILE
    file, ignore = (archive.extractfile(each) for each in (FOREIGN_DOCKERFILE, ".dockerignore"))
    assert file is not None
    assert ignore is not None
    assert file.read() == b"FROM other\n"
    assert ignore.read().split() == [b"docs", FOREIGN_DOCKERFILE.encode()]
    assert archive.getnames().count(".dockerignore") == 1


def test_long_names_and_odd_ones_are_kept(tmp_path: Path) -> None:
    long = "d" * 120
    for name in (long, "ümlaut", "with\nnewline"):
        (tmp_path / name).write_text(name)
    (tmp_path / "Dockerfile").touch()
    (tmp_path / "link").symlink_to("t" * 150)
    archive = archive_of(LocalContext(str(tmp_path), ""))

    assert sorted(archive.getnames()) == sorted(
        ["Dockerfile", long, "link", "with\nnewline", "ümlaut"]
    )
    assert archive.getmember("link").linkname == "t" * 150


def test_hard_links_are_sent_once(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").touch()
    (tmp_path / "a").write_bytes(b"z" * 5000)
    os.link(tmp_path / "a", tmp_path / "b")
    archive = archive_of(LocalContext(str(tmp_path), ""))

    assert archive.getmember("b").islnk()
    assert archive.getmember("b").linkname == "a"


def test_a_missing_dockerfile_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"lstat .*/Dockerfile: no such file or directory"):
        LocalContext(str(tmp_path), "")


def test_a_missing_directory_is_named() -> None:
    with pytest.raises(CommandFailed, match='path "/no/such" not found'):
        LocalContext("/no/such", "")


def test_archives_are_told_from_dockerfiles() -> None:
    assert is_archive(b"".join(single_dockerfile(b"FROM x\n")))
    assert is_archive(b"\x1f\x8b\x08rest")
    assert not is_archive(b"FROM scratch\n" * 100)
