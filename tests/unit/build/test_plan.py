"""The graph of a Dockerfile."""

import pytest

from tiffin.build.dockerfile import parse
from tiffin.build.plan import Origin, Plan, Request, make_plan, parse_platform
from tiffin.core.image import Platform
from tiffin.errors import InvalidArgument, Unsupported


def plan(text: str, **options: object) -> Plan:
    return make_plan(parse(text.encode()), Request(**options))  # type: ignore[arg-type]


def test_unreachable_stages_are_dropped() -> None:
    made = plan("FROM a AS one\nFROM b AS two\nRUN x\nFROM one\nCOPY --from=0 / /\n")

    assert list(made.stages) == [0, 2]
    assert made.stages[2].needs == {0}
    assert made.step_count == 3


def test_a_target_ends_the_build_there() -> None:
    made = plan("FROM a AS one\nFROM b AS two\nFROM c\n", target="TWO")

    assert (list(made.stages), made.target) == ([1], 1)


def test_from_means_an_earlier_stage_before_an_image() -> None:
    made = plan("FROM base AS base\nFROM base\n")

    assert made.stages[0].origin == Origin(image="base")
    assert made.stages[1].origin == Origin(stage=0)


def test_arguments_before_from_are_seen_by_from_only() -> None:
    made = plan("ARG V=1\nARG I=x:$V\nFROM $I\nARG V\n", build_args={"V": "2"})

    assert made.stages[0].origin.image == "x:2"
    assert made.scope.global_args["V"] == "2"


def test_the_platform_arguments_are_there() -> None:
    made = plan("FROM --platform=$BUILDPLATFORM a\n", platform="linux/arm64/v8")

    assert made.stages[0].origin.platform == "linux/amd64"
    assert made.scope.global_args["TARGETARCH"] == "arm64"
    assert made.scope.global_args["TARGETVARIANT"] == "v8"


def test_proxies_are_set_apart_and_unused_arguments_named() -> None:
    made = plan("FROM a\nARG B\n", build_args={"HTTP_PROXY": "p", "B": "1", "C": "2"})

    assert made.proxies == {"HTTP_PROXY": "p"}
    assert made.unused_args == ("C",)


def test_labels_become_steps_of_the_target() -> None:
    made = plan("FROM a\nFROM b\n", labels={"z": "$1", "a": "2"})

    assert [each.text for each in made.stages[1].instructions] == ["LABEL a=2", "LABEL z=$1"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FROM a\nFROM b AS t\nCOPY --from=t / /", "circular dependency in stages: t"),
        ("FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nFROM x", "needs to be defined before"),
        ("FROM a\nCOPY --from=5 / /", "invalid stage index 5"),
        ("FROM a\nCOPY --from=$x / /", "variable expansion is not supported for --from"),
        ("FROM $nothing", r"base name \(\$nothing\) should not be blank"),
        ("FROM --platform=$nothing a", "empty platform value from expression"),
        ("FROM ${a", "missing '}'"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        plan(text)

    assert "(Dockerfile:" in caught.value.message


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(InvalidArgument, match='target stage "x" could not be found'):
        plan("FROM a", target="x")


def test_an_unsupported_flag_is_refused_before_anything_is_done() -> None:
    with pytest.raises(Unsupported, match=r"RUN --mount.*\(Dockerfile:2\)"):
        plan("FROM a\nRUN --mount=type=ssh x")


def test_a_flag_in_a_stage_that_is_not_needed_is_no_matter() -> None:
    assert plan("FROM a\nRUN --mount=type=ssh x\nFROM b").target == 1


def test_platforms_are_read() -> None:
    assert parse_platform("linux/aarch64") == Platform("arm64", "linux")
    with pytest.raises(InvalidArgument):
        parse_platform("a/b/c/d")
