"""Command lines are read as pflag reads them."""

from __future__ import annotations

import pytest

from tiffin.cli.failures import WrongUsage
from tiffin.cli.options import Arguments, Command, parse

OPTIONS = (
    ("detach", "d", "bool", "Background"),
    ("publish", "p", "list", "Ports"),
    ("port", "", "=publish", ""),
    ("name", "n", "string", "Name"),
    ("limit", "", "int", "Limit"),
)


def command(*, interspersed: bool = True, least: int = 0, most: int | None = None) -> Command:
    return Command(
        lambda *_: None,
        " [OPTIONS] IMAGE",
        "Run",
        OPTIONS,
        interspersed=interspersed,
        least=least,
        most=most,
    )


def read(*words: str, interspersed: bool = True) -> Arguments:
    found = parse("run", command(interspersed=interspersed), list(words))
    assert found is not None
    return found


def refusal(*words: str, least: int = 0, most: int | None = None) -> WrongUsage:
    with pytest.raises(WrongUsage) as caught:
        parse("run", command(least=least, most=most), list(words))
    return caught.value


def test_letters_stand_together_and_the_last_takes_the_value() -> None:
    found = read("-dp", "3000:3000", "image")

    assert (found.flag("detach"), found.many("publish")) == (True, ["3000:3000"])
    assert found.words == ["image"]


@pytest.mark.parametrize(
    "words", [["--name=x"], ["--name", "x"], ["-nx"], ["-n", "x"], ["-n=x"], ["-dn=x"]]
)
def test_a_value_may_follow_in_every_way(words: list[str]) -> None:
    assert read(*words).text("name") == "x"


def test_a_boolean_takes_a_value_only_after_an_equals_sign() -> None:
    found = read("--detach=false", "-d=true", "false")

    assert found.flag("detach")
    assert found.words == ["false"]


def test_what_follows_the_first_word_is_left_alone_where_it_is_somebody_elses() -> None:
    found = read("image", "-d", "--name", "x", interspersed=False)

    assert found.words == ["image", "-d", "--name", "x"]
    assert not found.given("detach")


def test_options_stand_anywhere_elsewhere() -> None:
    assert read("image", "-d").flag("detach")


def test_two_dashes_end_the_options() -> None:
    assert read("--", "-d").words == ["-d"]


def test_one_dash_is_a_word() -> None:
    assert read("-").words == ["-"]


def test_another_name_of_an_option_is_the_option() -> None:
    assert read("--port", "1", "-p", "2").many("publish") == ["1", "2"]


def test_the_last_of_a_single_value_counts() -> None:
    assert read("--limit", "1", "--limit=0x10").number("limit") == 16


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["x", "--help"], ["--help=true"]])
def test_help_wins(words: list[str]) -> None:
    assert parse("run", command(), words) is None


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["--foo=1"], "unknown flag: --foo"),
        (["-dz"], "unknown shorthand flag: 'z' in -z"),
        (["-p"], "flag needs an argument: 'p' in -p"),
        (["--publish"], "flag needs an argument: --publish"),
        (
            ["--limit", "x"],
            (
                'invalid argument "x" for "--limit" flag: '
                'strconv.ParseInt: parsing "x": invalid syntax'
            ),
        ),
        (
            ["-d=x"],
            (
                'invalid argument "x" for "-d, --detach" flag: '
                'strconv.ParseBool: parsing "x": invalid syntax'
            ),
        ),
    ],
)
def test_a_wrong_option_is_named(words: list[str], problem: str) -> None:
    error = refusal(*words)

    assert error.code == 125
    assert error.message.split("\n")[0] == problem
    assert "Usage:  tiffin run [OPTIONS] IMAGE" in error.message


@pytest.mark.parametrize(
    ("words", "least", "most", "wanted"),
    [
        ([], 1, None, "requires at least 1 argument"),
        (["a"], 2, None, "requires at least 2 arguments"),
        (["a"], 0, 0, "accepts no arguments"),
        ([], 1, 1, "requires 1 argument"),
        (["a", "b"], 0, 1, "requires at most 1 argument"),
        ([], 1, 2, "requires at least 1 and at most 2 arguments"),
    ],
)
def test_words_are_counted(words: list[str], least: int, most: int | None, wanted: str) -> None:
    error = refusal(*words, least=least, most=most)

    assert error.code == 1
    assert error.message.split("\n")[0] == f"tiffin: 'tiffin run' {wanted}"
