"""Dockerfile text to instructions."""

from typing import Any

import pytest

from tiffin.build.dockerfile import parse
from tiffin.build.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    From,
    HealthCheck,
    Instruction,
    Label,
    OnBuild,
    Run,
)
from tiffin.errors import InvalidArgument


def instructions(text: str) -> tuple[Instruction, ...]:
    return parse(b"FROM x\n" + text.encode()).stages[0].instructions


def only(text: str) -> Any:
    (instruction,) = instructions(text)
    return instruction


def refusal(text: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        parse(text.encode(), "sub/Dockerfile")
    return caught.value.message


def test_stages_have_names_and_the_arguments_before_them_are_apart() -> None:
    dockerfile = parse(b"ARG V=1\nFROM a:$V AS Base\nRUN x\nFROM --platform=linux/arm64 base\n")

    assert dockerfile.arguments == (Arg(line=1, text="ARG V=1", pairs=(("V", "1"),)),)
    assert dockerfile.stages[0].origin == From(
        line=2, text="FROM a:$V AS Base", image="a:$V", stage="base"
    )
    assert dockerfile.stages[1].origin.platform == "linux/arm64"


def test_lines_are_joined_and_comments_inside_drop_out() -> None:
    run = only("RUN a \\\n# no\n  b \\  \n\n c\n")

    assert run == Run(line=2, text="RUN a   b  c", words=("a   b  c",), shell=True)


def test_the_escape_directive_changes_the_joining() -> None:
    dockerfile = parse(b"# escape=`\nFROM x\nRUN dir c:\\ `\n b\n")

    assert dockerfile.escape == "`"
    assert dockerfile.stages[0].instructions[0].text == "RUN dir c:\\  b"


def test_a_directive_after_a_comment_is_a_comment() -> None:
    assert parse(b"# hello\n# escape=`\nFROM x\n").escape == "\\"


def test_json_and_shell_forms_are_told_apart() -> None:
    assert only('CMD ["a", "b c"]') == Cmd(
        line=2, text='CMD ["a", "b c"]', words=("a", "b c"), shell=False
    )
    assert only("ENTRYPOINT ['a']") == Entrypoint(
        line=2, text="ENTRYPOINT ['a']", words=("['a']",), shell=True
    )


def test_a_run_takes_a_heredoc_with_its_lines_as_they_are() -> None:
    run, env = instructions("RUN <<EOF cat\n  a $x\n# kept\nEOF\nENV a=b\n")

    assert run.heredocs[0].name == "EOF"
    assert run.heredocs[0].content == "  a $x\n# kept\n"
    assert env.line == 6


def test_a_quoted_heredoc_word_means_no_expansion_and_a_dash_takes_tabs_away() -> None:
    copy = only("COPY <<'A' <<-B /d/\nx\nA\n\ty\n\tB\n")

    assert [(d.name, d.expand, d.body) for d in copy.inline] == [
        ("A", False, "x\n"),
        ("B", True, "y\n"),
    ]


def test_copy_has_flags_sources_and_a_destination() -> None:
    copy = only("COPY --from=base --chown=a:b --chmod=755 --exclude=x --exclude=y a b /c/")

    assert isinstance(copy, Copy)
    assert (copy.source_stage, copy.owner, copy.mode) == ("base", "a:b", "755")
    assert (copy.excludes, copy.sources, copy.destination) == (("x", "y"), ("a", "b"), "/c/")


def test_env_and_label_keep_their_quotes_for_expansion() -> None:
    assert only('ENV a="b c" d=e\\ f').pairs == (("a", '"b c"'), ("d", "e\\ f"))
    assert only("ENV old value  with  blanks") == Env(
        line=2, text="ENV old value  with  blanks", pairs=(("old", "value  with  blanks"),)
    )
    assert isinstance(only("LABEL a=b"), Label)


def test_a_health_check_becomes_nanoseconds() -> None:
    check = only("HEALTHCHECK --interval=5s --retries=3 CMD curl x")

    assert isinstance(check, HealthCheck)
    assert (check.check.interval, check.check.retries) == (5_000_000_000, 3)
    assert check.check.test == ("CMD-SHELL", "curl x")


def test_onbuild_keeps_its_trigger_with_the_heredoc() -> None:
    onbuild = only("ONBUILD RUN <<E\nx\nE\n")

    assert isinstance(onbuild, OnBuild)
    assert onbuild.trigger == "RUN <<E\nx\nE"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("FROM a\n\nFOO bar", 3, "unknown instruction: FOO"),
        ("FROM a\nRUN \\\n\n", 2, "RUN requires at least one argument"),
        ("RUN x", 1, "no build stage in current context"),
        ("# only\n", 1, "file with no instructions"),
        ("ARG x", 1, "dockerfile contains no stages to build"),
        ("FROM a b", 1, "FROM requires either one or three arguments"),
        ("FROM a AS 1b", 1, 'invalid name for build stage: "1b"'),
        ("FROM a\nCOPY x", 2, "COPY requires at least two arguments, but only one"),
        ("FROM a\nCOPY --nope=1 x y", 2, "unknown flag: --nope"),
        ("FROM a\nCOPY --chown=1 --chown=2 x y", 2, "duplicate flag specified: --chown"),
        ("FROM a\nCOPY --chown x y", 2, "missing a value on flag: --chown"),
        ("FROM a\nCOPY --link=maybe x y", 2, "expecting boolean value for flag --link"),
        ("FROM a\nENV a", 2, "ENV must have two arguments"),
        ("FROM a\nENV a=b c", 2, 'Syntax error - can\'t find = in "c"'),
        ("FROM a\nENV =x", 2, "ENV names can not be blank"),
        ("FROM a\nCMD [1]", 2, "arrays must be comprised of strings only"),
        ("FROM a\nSHELL sh", 2, "SHELL requires the arguments to be in JSON form"),
        ("FROM a\nONBUILD ONBUILD RUN x", 2, "Chaining ONBUILD"),
        ("FROM a\nONBUILD FROM x", 2, "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM a\nHEALTHCHECK FOO", 2, 'Unknown type "FOO" in HEALTHCHECK'),
        ("FROM a\nHEALTHCHECK --interval=x CMD y", 2, 'invalid duration "x"'),
        ("FROM a\nRUN <<E\nx", 2, "unterminated heredoc"),
        ("FROM a\nRUN --network=x y", 2, 'invalid network mode: "x"'),
        ("# escape=x\nFROM a", 1, "invalid escape token 'x'"),
        ("# escape=`\n# escape=`\nFROM a", 2, "only one escape parser directive"),
        ("FROM a\nRUN a\0b", 2, "a NUL byte is not text"),
        ("FROM a\nRUN " + "x" * 70000, 2, "greater than max allowed size"),
    ],
)
def test_an_error_names_its_line_and_file(text: str, line: int, words: str) -> None:
    message = refusal(text)

    assert message.startswith(f"dockerfile parse error on line {line}: ")
    assert message.endswith(f"(sub/Dockerfile:{line})")
    assert words in message
