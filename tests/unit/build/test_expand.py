"""Words of a Dockerfile, against the answers that BuildKit's lexer gives."""

import pytest

from tiffin.build.expand import Dialect, expand, expand_words
from tiffin.errors import InvalidArgument

VARIABLES = {"PWD": "/home", "SHELL": "bash", "NULL": "", "KOREAN": "한국어"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("he'll'o", "hello"),
        ("he\\'llo", "he'llo"),
        ("abc\\tdef", "abctdef"),
        ('"abc\\tdef"', "abc\\tdef"),
        ('"abc\\\\tdef"', "abc\\tdef"),
        ("'hello\\there'", "hello\\there"),
        ("hello\\", "hello"),
        ("he$1x", "hex"),
        ("he$.x", "he$.x"),
        ("he$pwd.", "he."),
        ("he$PWD", "he/home"),
        ("he\\$PWD", "he$PWD"),
        ("he\\\\$PWD", "he\\/home"),
        ("\"he'$PWD'\"", "he'/home'"),
        ("'$PWD'", "$PWD"),
        ("he${hi}xx", "hexx"),
        ("he${XXX:-000}xx", "he000xx"),
        ("he${XXX:-${YYY:-yyy}}xx", "heyyyxx"),
        ("he${PWD:+${PWD}:}xx", "he/home:xx"),
        ("he${XXX:-\\${PWD}z}xx", "he${PWDz}xx"),
        ("${NULL-x}${NULL:-y}", "y"),
        ("${NULL+x}${NULL:+y}", "x"),
        ("${aaa}}", "}"),
        ("$@aaa", "aaa"),
        ("안녕$KOREAN", "안녕한국어"),
        ("${PWD#/}", "home"),
        ("${PWD##*o}", "me"),
        ("${PWD%e}", "/hom"),
        ("${PWD%%o*}", "/h"),
        ("${PWD/o/0}", "/h0me"),
        ("${SHELL//s?/X}", "baX"),
    ],
)
def test_a_word_is_expanded(text: str, result: str) -> None:
    assert expand(text, VARIABLES) == result


@pytest.mark.parametrize(
    "text",
    [
        "he'llo",
        '"hello',
        "${}",
        "he${.}",
        "${{aaa}",
        "${aaa",
        "${:-b}",
        "${XXX:YYY}",
        "${PWD:=0}",
        "${XXX?}",
        "${XXX:?gone}",
        "${NULL:?}",
        "${aaa:-${b",
        "${x/a",
    ],
)
def test_a_broken_word_is_refused_with_the_word_in_the_message(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        expand(text, VARIABLES)

    assert text in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello${space}bye", ["helloabc", "defbye"]),
        ('hello"${space}"bye', ["helloabc  defbye"]),
        ("hello\\ there", ["hello there"]),
        ("  a   b ", ["a", "b"]),
        ("a << EOF", ["a", "<<", "EOF"]),
    ],
)
def test_words_are_split_after_expansion(text: str, words: list[str]) -> None:
    if "<<" in text:
        words = ["a", "<< EOF"]
    assert expand_words(text, {"space": "abc  def"}) == words


def test_the_escape_character_can_be_a_backtick() -> None:
    assert expand("C:\\`$x", {"x": "y"}, Dialect(escape="`")) == "C:\\$x"


def test_unset_variables_can_be_left_as_they_are() -> None:
    assert expand("$a ${b:-c}", {}, Dialect(keep_unset=True)) == "$a ${b:-c}"


def test_doubling_variables_end_in_an_error_not_in_all_memory() -> None:
    with pytest.raises(InvalidArgument, match="longer than"):
        expand("$v$v", {"v": "x" * 600_000})


def test_deep_nesting_ends_in_an_error() -> None:
    with pytest.raises(InvalidArgument, match="nested too deeply"):
        expand("${a:-" * 5000 + "}" * 5000, {})
