"""SELinux labels by the policy's own and what is asked for: texts only."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from tiffin.core import selinux
from tiffin.core.selinux import Label, Labels, Policy
from tiffin.errors import InvalidArgument

POLICY = Policy("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
OWN = "s0:c7,c9"


def drawing(*numbers: int) -> Callable[[int], int]:
    drawn = itertools.chain(numbers)
    return lambda below: next(drawn) % below


def test_a_label_is_what_it_was_read_from() -> None:
    for text in (POLICY.process, "u:r:t", "u:r:t:s0-s0:c0.c1023"):
        assert str(Label.parse(text)) == text


def test_the_policys_file_names_both_labels() -> None:
    text = (
        'process = "system_u:system_r:container_t:s0"\ncontent = "x:y:z"\n# file\n'
        "file=system_u:object_r:container_file_t:s0\n"
    )
    assert selinux.parse_contexts(text) == POLICY
    layers = selinux.parse_contexts(text + 'ro_file="u:object_r:ro_t:s0"\n').layers
    assert (layers, selinux.type_of(layers), selinux.type_of("")) == (
        "u:object_r:ro_t:s0",
        "ro_t",
        "",
    )


@pytest.mark.parametrize("text", ["", "process = a:b:c\n", "file = a:b:c:d", "process=x\nfile=y\n"])
def test_a_file_that_lacks_one_says_nothing(text: str) -> None:
    assert selinux.parse_contexts(text) == Policy()


def test_without_options_only_the_level_is_the_containers() -> None:
    assert selinux.choose(POLICY, (), OWN) == Labels(
        "system_u:system_r:container_t:s0:c7,c9", "system_u:object_r:container_file_t:s0:c7,c9"
    )


def test_options_change_their_parts_of_the_labels() -> None:
    options = ("user:u", "role:r", "type:t", "level:s0:c1,c2", "filetype:f")
    assert selinux.choose(POLICY, options, OWN) == Labels("u:r:t:s0:c1,c2", "u:object_r:f:s0:c1,c2")


def test_disabled_there_is_no_process_label_and_a_file_label_for_nobody() -> None:
    assert selinux.choose(POLICY, ("type:t", "disable"), OWN) == Labels(
        "", "system_u:object_r:container_file_t:s0:c1022,c1023"
    )


def test_a_policy_without_levels_gets_none() -> None:
    flat = ("u:r:container_t", "u:object_r:container_file_t")
    assert selinux.choose(Policy(*flat), (), OWN) == Labels(*flat)


def test_a_policy_that_says_nothing_labels_nothing() -> None:
    assert selinux.choose(Policy(), ("type:t",), OWN) == Labels()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("nonsense", "valid options 'disable' or"),
        ("colour:red", "valid options 'disable, user"),
        ("type:", "no type of a label"),
        ("type:a b", "no type"),
        ('type:a",x="', "no type"),
        ("type:a:b", "no type"),
        ("level:s0\n", "no level"),
        ("user:\u00fc", "no user"),
    ],
)
def test_a_bad_option_is_named(option: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match="bad label option") as refusal:
        selinux.check_option(option)
    assert words in refusal.value.message


@pytest.mark.parametrize("option", ["disable", "level:s0:c100,c200", "type:spc_t", "filetype:f"])
def test_a_good_option_is_taken_as_it_is(option: str) -> None:
    assert selinux.check_option(option) == option


def test_who_joins_a_container_gets_its_label() -> None:
    label = "system_u:system_r:container_t:s0:c7,c9"
    again = selinux.choose(POLICY, selinux.options_of(label), "s0:c1,c2")
    assert again.process == label
    assert selinux.choose(POLICY, selinux.options_of(""), OWN).process == ""


def test_a_shared_label_has_no_categories() -> None:
    assert selinux.shared("u:object_r:f:s0:c1,c2") == "u:object_r:f:s0"


def test_a_level_that_is_taken_or_is_no_pair_is_drawn_again() -> None:
    draw = drawing(5, 5, 9, 7, 3, 1)
    assert selinux.free_level({"s0:c7,c9"}, draw) == "s0:c1,c3"


def test_levels_run_out() -> None:
    class All:
        def __contains__(self, _: object) -> bool:
            return True

    with pytest.raises(InvalidArgument, match="every pair"):
        selinux.free_level(All(), lambda below: below - 1)
