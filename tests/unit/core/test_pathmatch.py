"""The rules of .dockerignore; the cases are those that moby's own matcher is held to."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core import pathmatch
from tiffin.core.pathmatch import Glob, PathMatcher, has_wildcards, parse_ignore_file
from tiffin.errors import InvalidArgument


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("**", "file"),
        ("**/", "dir/file"),
        ("**/**", "dir/file"),
        ("dir/**", "dir/dir2/file"),
        ("**/dir", "dir/file"),
        ("**/dir2/*", "dir/dir2/file"),
        ("**/dir2/**", "dir/dir2/dir3/file"),
        ("**file", "dir/dir/myfile"),
        ("**/file*txt", "dir/dir/file.txt"),
        ("**/**/*.txt", "dir/dir/file.txt"),
        ("a**/*.txt", "a/dir/dir/file.txt"),
        ("a/*.txt", "a/file.txt"),
        ("a/*.txt**", "a/file.txt"),
        ("a[b-d]e", "ace"),
        ("a\\*b", "a*b"),
        ("abc/**", "abc/def/ghi"),
        ("**/.foo", "bar/.foo"),
        ("a(b)c/def", "a(b)c/def"),
        ("docs", "docs/README.md"),
        ("/docs/../docs/", "/docs/README.md"),
    ],
)
def test_a_pattern_matches_a_path(pattern: str, path: str) -> None:
    assert PathMatcher([pattern]).matches(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("**/**/*.txt2", "dir/dir/file.txt"),
        ("a/*.txt", "a/dir/file.txt"),
        ("a[b-d]e", "aae"),
        (".*", "foo"),
        ("abc.def", "abcZdef"),
        ("abc/**", "abc"),
        ("**/.foo", "bar.foo"),
        ("**/file*", "dir/myfile"),
    ],
)
def test_a_pattern_leaves_a_path_alone(pattern: str, path: str) -> None:
    assert not PathMatcher([pattern]).matches(path)


@pytest.mark.parametrize(
    ("patterns", "path", "matched"),
    [
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs/*", "!docs/README.md"], "docs/README.md", False),
        (["!fileutils.go", "*.go"], "fileutils.go", True),
        (["**", "!util/docker/web"], "util/docker/web/foo", False),
        (["**", "!util/docker/web", "util/docker/web/foo"], "util/docker/web/foo", True),
        (["**", "!dist/*.whl"], "dist/a-1.0+g0-py3.whl", False),
    ],
)
def test_the_last_pattern_that_decides_wins(patterns: list[str], path: str, matched: bool) -> None:
    assert PathMatcher(patterns).matches(path) is matched


@pytest.mark.parametrize("pattern", ["[", "[a", "a[", "[^", "[]a]", "[a-]", "[-x]", "a\\", "!"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgument):
        PathMatcher([pattern])


def test_a_walk_gives_the_same_answer_as_the_whole_path() -> None:
    matcher = PathMatcher(["**/x", "!**/y"])

    above_matched, above = matcher.matches_below((), "a/x")
    below_matched, _ = matcher.matches_below(above, "a/x/y")

    assert (above_matched, below_matched) == (True, False)
    assert not matcher.matches("a/x/y")


@pytest.mark.parametrize(("pattern", "matched"), [("a[c-b]", False), ("a[^c-b]", True)])
def test_a_range_that_runs_backwards_holds_nothing(pattern: str, matched: bool) -> None:
    assert PathMatcher([pattern]).matches("ab") is matched


def test_many_stars_are_matched_in_linear_time() -> None:
    matcher = PathMatcher(["*a*a*a*a*a*a*a*a*a*a*a*b"])
    started = time.process_time()

    assert not matcher.matches("a" * 4000)

    assert time.process_time() - started < 1


@given(st.text("ab*?/[]!-\\^", max_size=12), st.text("ab/", max_size=12))
def test_any_pattern_matches_refuses_or_is_refused(pattern: str, path: str) -> None:
    try:
        matcher = PathMatcher([pattern])
    except InvalidArgument:
        return
    assert matcher.matches(path) in (True, False)


@given(
    st.lists(st.sampled_from(["*", "**/", "a", "b", "?"]), max_size=8), st.text("ab/", max_size=8)
)
def test_the_automaton_agrees_with_the_regular_expression(parts: list[str], path: str) -> None:
    tokens = pathmatch._tokens("".join(parts), deep=True)

    assert pathmatch._Automaton(tokens)(path) == pathmatch._Regex(tokens)(path)


def test_an_ignore_file_is_read_as_docker_reads_it() -> None:
    text = b"\xef\xbb\xbf# no\n\n /a/b/ \n!/c\r\n! d/../e\n#x\n"

    assert parse_ignore_file(text) == ["a/b", "!c", "!e"]


def test_a_glob_stops_at_slashes() -> None:
    assert Glob("a*").matches("abc")
    assert not Glob("a*").matches("a/c")
    assert not Glob("a?c").matches("a/c")


def test_a_backslash_takes_the_wildcard_away() -> None:
    assert has_wildcards("a*")
    assert not has_wildcards("a\\*")
