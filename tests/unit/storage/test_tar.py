from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.storage.archives import archive, directory, file, symlink
from tiffin.errors import InvalidArgument
from tiffin.storage import tar


def read(data: bytes, chunk: int = 1 << 20) -> list[tuple[tar.Entry, bytes]]:
    chunks = (data[at : at + chunk] for at in range(0, len(data), chunk))
    reader = tar.Reader(tar.Source(chunks))
    return [(entry, b"".join(bytes(piece) for piece in reader.body())) for entry in reader]


def written(entry: tar.Entry, body: bytes = b"") -> bytes:
    entry.size = len(body)
    return tar.encode_header(entry) + body + bytes(-len(body) % tar.BLOCK) + tar.END


@given(st.binary(max_size=4096))
def test_any_bytes_are_entries_or_an_invalid_argument(data: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        read(data)


_SAMPLE = archive(
    directory("d"),
    file("d/" + "long" * 60, b"x" * 700),
    file("sparse", b"1" * 10, pax_headers={"GNU.sparse.map": "0,10", "GNU.sparse.size": "10"}),
    symlink("l", "t" * 200),
)


@settings(max_examples=300)
@given(st.integers(0, len(_SAMPLE) - 1), st.binary(min_size=1, max_size=12), st.integers(1, 5000))
def test_a_damaged_archive_is_entries_or_an_invalid_argument(
    at: int, bytes_: bytes, chunk: int
) -> None:
    damaged = _SAMPLE[:at] + bytes_ + _SAMPLE[at + len(bytes_) :]
    with contextlib.suppress(InvalidArgument):
        read(damaged, chunk)


@given(
    name=st.binary(min_size=1, max_size=300).filter(lambda n: b"\0" not in n),
    mode=st.integers(0, 0o7777),
    uid=st.integers(0, 2**32 - 2),
    gid=st.integers(0, 2**32 - 2),
    mtime_ns=st.integers(-(10**18), 10**19 // 2),
    body=st.binary(max_size=1500),
    xattrs=st.dictionaries(
        st.text("abc.", min_size=1).map(str.encode), st.binary(min_size=1, max_size=40), max_size=3
    ),
    chunk=st.integers(1, 2000),
)
def test_what_is_written_is_read_back(
    name: bytes,
    mode: int,
    uid: int,
    gid: int,
    mtime_ns: int,
    body: bytes,
    xattrs: dict[bytes, bytes],
    chunk: int,
) -> None:
    entry = tar.Entry(name, tar.REGULAR, mode=mode, uid=uid, gid=gid, mtime_ns=mtime_ns)
    entry.xattrs = xattrs
    # "Regular" with a slash at the end is how old archives wrote a directory.
    ((found, data),) = read(written(entry, body), chunk)
    assert (found.name, found.mode, found.uid, found.gid) == (name, mode, uid, gid)
    assert (found.mtime_ns, found.xattrs, data) == (max(0, mtime_ns), xattrs, body)


@given(
    name=st.text(
        st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1
    ),
    link=st.text(
        st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1
    ),
    uid=st.integers(0, 2**32 - 2),
)
def test_python_reads_what_is_written(name: str, link: str, uid: int) -> None:
    entry = tar.Entry(name.encode(), tar.SYMLINK, uid=uid, link=link.encode())
    with tarfile.open(fileobj=io.BytesIO(written(entry)), encoding="utf-8") as reference:
        (info,) = reference.getmembers()
    assert (info.name, info.linkname, info.uid) == (name.rstrip("/"), link, uid)


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_every_format_of_python_is_read(tar_format: int) -> None:
    name = "a" * 90 + "/" + "b" * 60
    data = archive(file(name, b"hello", 0o4755), symlink("s", "x" * 90), tar_format=tar_format)
    (one, body), (two, _) = read(data)
    assert (one.name, one.mode, body) == (name.encode(), 0o4755, b"hello")
    assert (two.kind, two.link) == (tar.SYMLINK, b"x" * 90)


@pytest.mark.parametrize("style", ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1"])
def test_sparse_files_of_gnu_tar_are_read(tmp_path: Path, style: str) -> None:
    holes = tmp_path / "holes"
    with holes.open("wb") as out:
        for number in range(30):
            out.seek(number * 1_000_000)
            out.write(b"data %d" % number)
        out.truncate(40_000_000)
    flags = [style] if "gnu" in style else ["--format=posix", style]
    data = subprocess.run(
        ["tar", "-C", tmp_path, "-cS", *flags, "holes"], check=True, capture_output=True
    ).stdout
    ((entry, body),) = read(data)
    assert entry.name == b"holes"
    assert entry.size == 40_000_000
    assert entry.segments is not None
    expected = holes.read_bytes()
    at = 0
    for offset, length in entry.segments:
        assert body[at : at + length] == expected[offset : offset + length]
        at += length
    assert at == len(body) < 1_000_000


def test_sparse_files_of_pax_1_0_are_read(tmp_path: Path) -> None:
    test_sparse_files_of_gnu_tar_are_read(tmp_path, "--sparse-version=1.0")


def test_a_stream_that_ends_in_a_file_is_invalid() -> None:
    with pytest.raises(InvalidArgument, match="unexpected EOF"):
        read(archive(file("a", b"x" * 5000))[:3000])


def test_an_empty_stream_and_a_missing_end_mark_are_fine() -> None:
    assert read(b"") == []
    assert len(read(archive(file("a"))[:512])) == 1


def test_an_extended_header_without_end_is_invalid() -> None:
    header = tar.encode_header(tar.Entry(b"x", b"x", size=1 << 30))
    with pytest.raises(InvalidArgument, match="too large"):
        read(header + bytes(1 << 20))


def test_global_headers_say_nothing() -> None:
    data = archive(file("a"))
    body = b"24 path=somewhere-else\n\n"
    header = tar.encode_header(tar.Entry(b"g", b"g", size=len(body)))
    ((entry, _),) = read(header + body + bytes(512 - len(body)) + data)
    assert entry.name == b"a"


def test_an_owner_that_chown_would_not_understand_is_invalid() -> None:
    with pytest.raises(InvalidArgument, match="out of range"):
        read(archive(file("a", uid=2**32 - 1)))


@pytest.mark.parametrize("seconds", [2**40, -(2**40), -1])
def test_a_time_beyond_all_clocks_or_before_the_epoch_is_the_epoch(seconds: int) -> None:
    ((found, _),) = read(written(tar.Entry(b"a", b"0", mtime_ns=seconds * 1_000_000_000)))
    assert found.mtime_ns == 0
