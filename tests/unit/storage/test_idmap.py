"""Owners inside and outside, and the capabilities that go with them."""

from __future__ import annotations

import io
import os
import struct
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tiffin.storage import treetar
from tiffin.storage.idmap import CAPABILITY, NOBODY, IdMap

MAP = "         0     524288      65536\n    100000 1879048192          1\n"
PLAIN = struct.pack("<5I", 0x02000001, 1 << 10, 1, 0, 0)


def parsed() -> IdMap:
    found = IdMap.parse(MAP)
    assert found is not None
    return found


def test_a_map_that_shifts_nothing_is_none() -> None:
    assert IdMap.parse("         0          0 4294967295\n") is None
    assert IdMap.parse("") is None


def test_a_map_survives_as_text() -> None:
    assert str(IdMap.parse(str(parsed()))) == str(parsed())


@given(st.integers(0, 65535) | st.just(100000))
def test_there_and_back_is_where_it_was(number: int) -> None:
    assert parsed().inward(parsed().outward(number)) == number


def test_an_id_that_the_container_lacks_is_its_root_s_and_a_stranger_is_nobody() -> None:
    assert parsed().outward(70000) == 524288
    assert parsed().inward(0) == NOBODY


def test_capabilities_are_those_of_the_container_s_root() -> None:
    outside = parsed().xattrs_outward({CAPABILITY: PLAIN, b"user.x": b"y"})
    assert outside[b"user.x"] == b"y"
    assert struct.unpack("<6I", outside[CAPABILITY]) == (0x03000001, 1 << 10, 1, 0, 0, 524288)
    assert parsed().xattrs_inward(outside)[CAPABILITY] == PLAIN
    assert parsed().xattrs_outward({b"user.x": b"y"}) == {b"user.x": b"y"}
    assert parsed().xattrs_inward({CAPABILITY: PLAIN}) == {CAPABILITY: PLAIN}


def test_a_tree_is_told_below_another_name_with_links_that_lead_there(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    os.link(tmp_path / "one", tmp_path / "two")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    out = io.BytesIO()
    uid = os.getuid()
    treetar.write_files(
        fd,
        treetar.everything(fd),
        out.write,
        below=b"dir",
        ids=IdMap([(0, uid + 10, 1), (7, uid, 1)]),
    )
    os.close(fd)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        members = {member.name: member for member in archive}
    assert sorted(members) == ["dir/one", "dir/two"]
    assert members["dir/two"].linkname == "dir/one"
    assert members["dir/one"].uid == 7
