"""Any bytes either parse to instructions or raise InvalidArgument with a line number."""

import re
from contextlib import suppress

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiffin.build.dockerfile import parse
from tiffin.build.expand import expand, expand_words
from tiffin.build.plan import Request, make_plan
from tiffin.core.pathmatch import PathMatcher, parse_ignore_file
from tiffin.errors import InvalidArgument, Unsupported

PIECES = [
    "FROM ", "FROM scratch", " AS ", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "LABEL ", "CMD ",
    "ONBUILD ", "HEALTHCHECK ", "SHELL ", "--from=", "--chown=", "--", "<<EOF", "<<-'E'", "EOF",
    "\n", "\\\n", "\\", " ", "\t", "#", "# escape=`\n", '["a"', "]", '"', "'", "${", "}", "$x",
    "=", "a", ",", "\0", "\r\n", "é", "[1]", "`",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@example("FROM a\nRUN <<A <<A\nA\n")
@example("ONBUILD " * 2000)
@example("FROM a\nCMD " + "[" * 20000)
def test_text_made_of_pieces_parses_or_is_refused(text: str) -> None:
    check(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    check(data)


def check(data: bytes) -> None:
    try:
        dockerfile = parse(data)
    except InvalidArgument as error:
        refusal = error.message
    else:
        assert dockerfile.stages
        with suppress(InvalidArgument, Unsupported):
            make_plan(dockerfile, Request())
        return
    assert re.match(r"dockerfile parse error on line \d+: ", refusal)


@settings(max_examples=300, deadline=None)
@given(st.text("ab${}:-+?#%/\\'\"<` *", max_size=30))
def test_any_word_expands_or_is_refused(text: str) -> None:
    for function in (expand, expand_words):
        with suppress(InvalidArgument):
            function(text, {"a": "b", "b": ""})


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.text("abc/.*", max_size=20))
def test_any_ignore_file_is_understood_or_refused(data: bytes, path: str) -> None:
    try:
        matcher = PathMatcher(parse_ignore_file(data))
    except InvalidArgument:
        return
    assert matcher.matches(path) in (True, False)
