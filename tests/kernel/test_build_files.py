"""COPY, ADD and WORKDIR on real snapshots, as BuildKit does them."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zstandard

from tests.fakes.buildbench import Bench, Outcome, tar_of
from tiffin.errors import InvalidArgument

pytestmark = pytest.mark.root

ARCHIVE = tar_of({"in/f": (0o640, "F")})
CONTEXT: dict[str, Any] = {
    "a.txt": "A",
    "b.txt": "B",
    "d/": ("dir", 0o750),
    "d/x": "X",
    "d/sub/y": (0o4755, "Y"),
    "d/l": ("link", "x"),
    "to_dir": ("link", "d"),
    "to_file": ("link", "a.txt"),
    "outside": ("link", "/etc/passwd"),
    "h1": "H",
    "h2": ("hard", "h1"),
    "w[1]": "W",
    "t.tar": ARCHIVE,
    "t.tgz": gzip.compress(ARCHIVE, mtime=0),
    "t.xz": lzma.compress(ARCHIVE),
    "t.bz2": bz2.compress(ARCHIVE),
    "t.zst": zstandard.compress(ARCHIVE),
}


@pytest.fixture
def directory() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="tfn") as path:
        yield path


def built(directory: str, body: str, context: dict[str, Any] | None = None) -> dict[str, Any]:
    """The tree that the Dockerfile makes of busybox."""

    def tree(bench: Bench, outcome: Outcome) -> dict[str, Any]:
        assert outcome.document is not None, outcome.error
        return bench.tree(outcome.document)

    return with_build(directory, body, tree, context)


def with_build(
    directory: str,
    body: str,
    use: Callable[[Bench, Outcome], Any],
    context: dict[str, Any] | None = None,
) -> Any:
    async def go() -> Any:
        bench = Bench(directory)
        try:
            bench.add_busybox()
            outcome = await bench.build(
                f"FROM bb\n{body}\n", CONTEXT if context is None else context
            )
            return use(bench, outcome)
        finally:
            await bench.close()
            assert bench.left == []

    return asyncio.run(go())


def mode(entry: tuple[Any, ...]) -> str:
    return str(entry[0])


def content(entry: tuple[Any, ...]) -> Any:
    return entry[3]


@pytest.mark.parametrize(
    ("body", "path", "text"),
    [
        ("COPY a.txt /", "/a.txt", b"A"),
        ("COPY a.txt /x/y/z", "/x/y/z", b"A"),
        ("COPY a.txt /x/", "/x/a.txt", b"A"),
        ("COPY a.txt /etc", "/etc/a.txt", b"A"),
        ("WORKDIR /w\nCOPY a.txt .", "/w/a.txt", b"A"),
        ("COPY *.txt /t/", "/t/b.txt", b"B"),
        ("COPY [ab].txt /t/", "/t/a.txt", b"A"),
        ("COPY d /t", "/t/sub/y", b"Y"),
        ("COPY d/. /t/", "/t/x", b"X"),
        ("COPY d/*/y /t/", "/t/y", b"Y"),
        ("COPY to_dir /t", "/t/x", b"X"),
        ("COPY to_file /t/", "/t/to_file", b"A"),
        ("COPY w[[]1] /t/", "/t/w[1]", b"W"),
        ('COPY ["a.txt", "b.txt", "/t/"]', "/t/b.txt", b"B"),
        ("COPY a.txt nothing* /t/", "/t/a.txt", b"A"),
        ("COPY ../a.txt /t", "/t", b"A"),
        ("ADD t.tar /t/", "/t/in/f", b"F"),
        ("ADD t.tgz /t", "/t/in/f", b"F"),
        ("ADD t.xz /t", "/t/in/f", b"F"),
        ("ADD t.bz2 /t", "/t/in/f", b"F"),
        ("ADD t.zst /t", "/t/in/f", b"F"),
        ("ADD a.txt /t/", "/t/a.txt", b"A"),
        ("COPY t.tgz /t/", "/t/t.tgz", gzip.compress(ARCHIVE, mtime=0)),
        ("RUN mkdir /real; ln -s /real /t\nCOPY a.txt /t/", "/real/a.txt", b"A"),
        ("RUN ln -s nowhere/x /t\nCOPY a.txt /t", "/nowhere/x", b"A"),
        ("RUN ln -s ../../../../x /t\nCOPY a.txt /t/", "/x/a.txt", b"A"),
        ("RUN ln -s /a.txt /t; touch /a.txt\nCOPY b.txt /t", "/a.txt", b"B"),
        ("RUN ln -s passwd /etc/a.txt\nCOPY a.txt /etc/", "/etc/a.txt", b"A"),
    ],
)
def test_a_source_arrives_where_the_destination_says(
    directory: str, body: str, path: str, text: bytes
) -> None:
    assert content(built(directory, body)[path]) == text


def test_a_copied_directory_keeps_what_is_in_it_but_not_its_own_mode(directory: str) -> None:
    tree = built(directory, "COPY d /t")

    assert mode(tree["/t"]) == "0o40755"
    assert tree["/t/sub/y"][:3] == ("0o104755", 0, 0)
    assert content(tree["/t/l"]) == "x"


def test_chown_goes_to_the_parents_too(directory: str) -> None:
    tree = built(directory, "COPY --chown=daemon:bin d /new/t")

    assert {tree[path][1:3] for path in ("/new", "/new/t", "/new/t/x", "/new/t/l")} == {(1, 2)}


def test_a_lone_number_in_chown_is_the_group_too(directory: str) -> None:
    assert built(directory, "COPY --chown=55 a.txt /t")["/t"][1:3] == (55, 55)


def test_chmod_takes_octal_and_letters(directory: str) -> None:
    tree = built(directory, "COPY --chmod=4711 a.txt /t\nCOPY --chmod=u+x,go= d /u")

    assert mode(tree["/t"]) == "0o104711"
    assert (mode(tree["/u/x"]), mode(tree["/u/sub"])) == ("0o100700", "0o40700")


def test_exclude_leaves_out_what_matches(directory: str) -> None:
    tree = built(directory, "COPY --exclude=sub --exclude=l d /t\nCOPY --exclude=b* *.txt /u/")

    assert {path for path in tree if path.startswith(("/t/", "/u/"))} == {"/t/x", "/u/a.txt"}


def test_hard_links_stay_one_file(directory: str) -> None:
    def check(bench: Bench, outcome: Outcome) -> None:
        assert outcome.document is not None
        assert bench.link_count(outcome.document, "/t/h2") == 2

    with_build(directory, "COPY . /t/", check)


def test_an_archive_keeps_its_owners_unless_chown_is_given(directory: str) -> None:
    tree = built(directory, "ADD t.tar /a/\nADD --chown=3:4 t.tar /b/")

    assert (tree["/a"][1:3], tree["/a/in/f"][:3]) == ((0, 0), ("0o100640", 1000, 1000))
    assert (tree["/b"][1:3], tree["/b/in/f"][1:3]) == ((3, 4), (3, 4))


def test_a_copy_from_a_stage_keeps_owners(directory: str) -> None:
    body = "RUN mkdir /o; echo x > /o/f; chown 7:8 /o/f\nFROM bb\nCOPY --from=0 /o /t\n"

    assert built(directory, body)["/t/f"][:3] == ("0o100644", 7, 8)


def test_workdir_belongs_to_the_user(directory: str) -> None:
    tree = built(directory, "USER daemon\nWORKDIR /made/here")

    assert (tree["/made"][1:3], tree["/made/here"][1:3]) == ((1, 1), (1, 1))


def test_inline_files_are_written(directory: str) -> None:
    tree = built(directory, "ENV N=v\nCOPY <<one <<'two' /t/\n$N\none\n$N\ntwo")

    assert (content(tree["/t/one"]), content(tree["/t/two"])) == (b"v\n", b"$N\n")


def test_scratch_takes_files(directory: str) -> None:
    tree = built(directory, "FROM scratch\nCOPY a.txt /x/\nCOPY b.txt /x/")

    assert set(tree) == {"/x", "/x/a.txt", "/x/b.txt"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "COPY nope /",
            "COPY failed: file not found in build context or excluded by .dockerignore",
        ),
        ("COPY outside /t", "COPY failed: file not found in build context"),
        ("COPY --from=bb /nope /t", "COPY failed: stat /nope: file does not exist"),
        ("RUN mkdir -p /t/a.txt\nCOPY a.txt /t/", "cannot replace to directory"),
        ("RUN touch /t\nCOPY d /t", "not a directory"),
        ("RUN mkdir /t; touch /t/sub\nCOPY d /t", "cannot copy to non-directory"),
        ("RUN ln -s t /t\nCOPY a.txt /t/", "too many levels of symbolic links"),
        ("COPY --chown=nobody9 a.txt /", "unable to find user nobody9"),
        ("COPY --chown=0:nogroup9 a.txt /", "unable to find group nogroup9"),
        ("COPY --chown=4294967295 a.txt /", "must be in range"),
    ],
)
def test_what_cannot_be_copied_is_said(directory: str, body: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        built(directory, body)
