"""Docker's user strings, against an image's passwd and group."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.runtime.users import UnknownUser, read_database, resolve

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment
web:x:33:44:www:/var/www:/bin/false
broken line
7:x:1007:1007::/seven:/bin/sh
bare:x:12:13
"""
GROUP = b"""root:x:0:root
www:x:44:
audio:x:29:web,other
staff:x:50:web
"""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", (0, 0, [0], "/root")),
        ("root", (0, 0, [0], "/root")),
        ("web", (33, 44, [44, 29, 50], "/var/www")),
        ("33", (33, 44, [44, 29, 50], "/var/www")),
        ("web:audio", (33, 29, [29], "/var/www")),
        ("1000", (1000, 0, [0], "/")),
        ("1000:1001", (1000, 1001, [1001], "/")),
        ("1000:staff", (1000, 50, [50], "/")),
        ("7", (1007, 1007, [1007], "/seven")),
        ("bare", (12, 13, [13], "/")),
    ],
)
def test_a_user_is_found_by_name_or_number(
    spec: str, expected: tuple[int, int, list[int], str]
) -> None:
    found = resolve(spec, [], PASSWD, GROUP)
    assert (found.uid, found.gid, found.groups, found.home) == expected


def test_added_groups_come_with_their_own() -> None:
    assert resolve("web", ["www", "77"], PASSWD, GROUP).groups == [44, 29, 50, 77]


@pytest.mark.parametrize(
    ("spec", "added", "words"),
    [
        ("foo", [], "unable to find user foo: no matching entries in passwd file"),
        ("web:foo", [], "unable to find group foo: no matching entries in group file"),
        ("web", ["foo"], "unable to find group foo: no matching entries in group file"),
        ("2147483648", [], "uids and gids must be in range 0-2147483647"),
        ("-1", [], "uids and gids must be in range 0-2147483647"),
        ("0:-5", [], "uids and gids must be in range 0-2147483647"),
        ("--1", [], "unable to find user --1: no matching entries in passwd file"),
        ("0:4294967296", [], "uids and gids must be in range 0-2147483647"),
    ],
)
def test_what_is_not_there_is_told_in_dockers_words(
    spec: str, added: list[str], words: str
) -> None:
    with pytest.raises(UnknownUser) as caught:
        resolve(spec, added, PASSWD, GROUP)
    assert str(caught.value) == words


def test_an_image_without_files_knows_numbers_only() -> None:
    assert resolve("12:13", [], b"", b"").uid == 12
    with pytest.raises(UnknownUser):
        resolve("root", [], b"", b"")


@given(st.text(), st.binary(), st.binary())
def test_any_files_give_ids_in_range_or_an_unknown_user(
    spec: str, passwd: bytes, group: bytes
) -> None:
    try:
        found = resolve(spec, [], passwd, group)
    except UnknownUser:
        return
    assert 0 <= found.uid < 2**31
    assert 0 <= found.gid < 2**31


def test_only_regular_files_are_read(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "passwd")
    assert read_database(path) == b""
    os.mkfifo(path)
    assert read_database(path) == b""
    os.unlink(path)
    os.mkdir(path)
    assert read_database(path) == b""
    os.rmdir(path)
    with open(path, "wb") as file:
        file.write(PASSWD)
    assert read_database(path) == PASSWD
