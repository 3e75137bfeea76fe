"""Archives in pieces of any size, of any of the formats that engines send."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.cli.failures import CommandFailed
from tiffin.cli.tarreader import DIRECTORY, FILE, HARD_LINK, SYMLINK, TarReader


def packed(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, kind, link, data in (
            ("dir", tarfile.DIRTYPE, "", b""),
            ("dir/" + "n" * 150, tarfile.REGTYPE, "", b"long name"),
            ("dir/plain", tarfile.REGTYPE, "", b"x" * 1000),
            ("dir/empty", tarfile.REGTYPE, "", b""),
            ("dir/hard", tarfile.LNKTYPE, "dir/plain", b""),
            ("dir/soft", tarfile.SYMTYPE, "t" * 150, b""),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.size, entry.mtime = kind, link, len(data), 12
            entry.uid = 3_000_000
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def pieces_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    st.integers(1, 20_000),
)
def test_what_was_packed_is_read(form: int, size: int) -> None:
    data = packed(form)
    reader = TarReader(pieces_of(data, size))
    found = [(m.name.rstrip("/"), m.kind, m.link, b"".join(reader.body())) for m in reader]
    assert found == [
        ("dir", DIRECTORY, "", b""),
        ("dir/" + "n" * 150, FILE, "", b"long name"),
        ("dir/plain", FILE, "", b"x" * 1000),
        ("dir/empty", FILE, "", b""),
        ("dir/hard", HARD_LINK, "dir/plain", b""),
        ("dir/soft", SYMLINK, "t" * 150, b""),
    ]
    assert reader.count == len(data)


@given(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_bodies_that_nobody_reads_are_passed_over(form: int) -> None:
    assert len(list(TarReader(pieces_of(packed(form), 700)))) == 6


def test_an_archive_that_is_cut_off_says_so() -> None:
    with pytest.raises(CommandFailed, match="unexpected EOF"):
        list(TarReader(pieces_of(packed(tarfile.PAX_FORMAT)[:2000], 512)))


@given(st.binary(max_size=3000))
def test_any_bytes_are_an_archive_or_refused(data: bytes) -> None:
    try:
        for _ in TarReader(pieces_of(data, 512)):
            pass
    except CommandFailed:
        return
