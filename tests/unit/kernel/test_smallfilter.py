"""Filters made small answer as they did. The judge is an interpreter of BPF that shares no code
with what it judges."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiffin.kernel import seccomp, smallfilter
from tiffin.runtime import capabilities, seccomp_profile

WORD, LONG = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
X86_64, X86, AARCH64, ARM = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028
X32 = 0x40000000
LOAD, AND, RETURN, JUMP = 0x20, 0x54, 0x06, 0x05
EQUAL, GREATER, AT_LEAST, ANY_BIT = 0x15, 0x25, 0x35, 0x45
CONDITIONS = (EQUAL, GREATER, AT_LEAST, ANY_BIT)
CODES = (LOAD, AND, JUMP, *CONDITIONS, 0x04, 0x16)
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
PLAIN = ("read", "write", "close", "getpid", "unshare", "mount", "clone3", "fchmodat2", "statmount")

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value


# --- the judge ------------------------------------------------------------------------------------


def answer(steps: list[Instruction], words: list[int]) -> tuple[int, bool]:
    """What the kernel would answer to these words of struct seccomp_data; and whether it looked
    at more of them than the number and the architecture."""
    held, at, looked = 0, 0, False
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == LOAD:
            held = words[value // 4]
            looked |= value > 4
        elif code == AND:
            held &= value
        elif code == RETURN:
            return value, looked
        elif code == JUMP:
            at += value
        elif code == EQUAL:
            at += if_true if held == value else if_false
        elif code == GREATER:
            at += if_true if held > value else if_false
        elif code == AT_LEAST:
            at += if_true if held >= value else if_false
        else:
            assert code == ANY_BIT
            at += if_true if held & value else if_false


Words = list[int]


def assert_same(
    one: bytes, other: bytes, arguments: list[Words], numbers: Collection[int] = range(1101)
) -> None:
    """For these numbers and all about which something changes, on architectures known and
    unknown; where arguments are looked at, for each of these."""
    before, after = decoded(one), decoded(other)
    compared = {value for code, *_, value in (*before, *after) if code in CONDITIONS}
    edges = {(c + d) & WORD for c in (0, X32, 1 << 31, *compared) for d in (-1, 0, 1)}
    asked = sorted(edges.union(numbers, (X32 + n for n in numbers)))
    calls = [(a, n) for a in (X86_64, X86) for n in asked]
    calls += [(a, n) for a in (AARCH64, 0, X86 + 1, WORD) for n in sorted(edges)]
    for architecture, number in calls:
        head = [number, architecture, 0, 0]
        expected, looked = answer(before, head + arguments[0])
        found, looks = answer(after, head + arguments[0])
        assert found == expected, (hex(architecture), number)
        for words in arguments if looked or looks else ():
            assert answer(after, head + words)[0] == answer(before, head + words)[0], head + words


def around(values: Collection[int]) -> list[Words]:
    """Six arguments as twelve words: a value or a neighbour in all, in one alone, and by chance."""
    near = sorted({(v + d) & LONG for v in (0, 1 << 32, 1 << 63, *values) for d in (-1, 0, 1)})
    found = [[value] * 6 for value in near]
    found += [[0] * at + [value] + [0] * (5 - at) for value in near for at in range(6)]
    return [[half for v in six for half in (v & WORD, v >> 32)] for six in found] + mixed(near, 100)


def mixed(values: Collection[int], count: int) -> list[Words]:
    halves = [half for value in values for half in (value & WORD, value >> 32)]
    chance = random.Random(1)
    return [chance.choices(halves, k=12) for _ in range(count)]


def decoded(program: bytes) -> list[Instruction]:
    return list(struct.iter_unpack("=HBBI", program))


def encoded(*steps: Instruction) -> bytes:
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


# --- what libseccomp writes -----------------------------------------------------------------------


def default_profile(*caps: str, architecture: str = "x86_64") -> dict[str, Any]:
    chosen = seccomp_profile.choose("", frozenset(caps), architecture, (6, 12), privileged=False)
    assert chosen is not None
    return chosen.filter


def values_of(profile: dict[str, Any]) -> set[int]:
    args = [arg for rule in profile["syscalls"] for arg in rule.get("args") or ()]
    return {arg[key] for arg in args for key in ("value", "valueTwo") if key in arg}


@pytest.mark.parametrize(
    "caps",
    [
        (),
        capabilities.DEFAULT,
        (*capabilities.DEFAULT, "CAP_SYS_ADMIN"),
        (*capabilities.DEFAULT, "CAP_SYS_PTRACE", "CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_TIME"),
    ],
    ids=["none", "default", "admin", "some"],
)
def test_dockers_profile_answers_the_same_from_a_third_of_the_instructions(
    caps: tuple[str, ...],
) -> None:
    profile = default_profile(*caps)
    exported = seccomp.compile_filter(profile)

    small = seccomp.compile_small(profile)

    assert len(small) * 3 < len(exported)
    assert_same(exported, small, around(values_of(profile)))


def test_dockers_profile_with_x32_too() -> None:
    profile = default_profile(*capabilities.DEFAULT)
    names = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"]
    profile = {**profile, "architectures": names}
    exported = seccomp.compile_filter(profile)

    small = smallfilter.shrink(exported)

    assert len(small) < len(exported)
    assert_same(exported, small, around(values_of(profile)))


@pytest.mark.parametrize("operator", sorted(seccomp.COMPARISONS))
@pytest.mark.parametrize("value", [0, 0x20008, 0x1_0000_0005, 0xFFFF_FFFF_0000_0000, LONG])
@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"])
def test_each_operator_answers_the_same(operator: str, value: int, default: str) -> None:
    action = "SCMP_ACT_KILL_PROCESS" if default == "SCMP_ACT_ALLOW" else "SCMP_ACT_ALLOW"
    comparison = {"index": 2, "op": operator, "value": value, "valueTwo": value & 0xFFFF_0000_FFFF}
    other = {"index": 5, "op": "SCMP_CMP_MASKED_EQ", "value": 0xFF00, "valueTwo": 0x1200}
    profile = {
        "defaultAction": default,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["ioctl", "close"], "action": action, "args": [comparison]},
            {"names": ["openat"], "action": action, "args": [comparison, other]},
        ],
    }

    exported = seccomp.compile_filter(profile)

    assert_same(exported, smallfilter.shrink(exported), around(values_of(profile)))


def test_a_program_whose_jumps_are_far_answers_the_same() -> None:
    """A return for each number, and tests of arguments out of a condition's reach."""
    everywhere = {name for rule in default_profile()["syscalls"] for name in rule["names"]}
    names = sorted(everywhere)
    profile = {
        "defaultAction": "SCMP_ACT_TRAP",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": number}
            | ({"args": [argument(number)]} if number % 3 == 0 else {})
            for number, name in enumerate(names)
        ],
    }
    exported = seccomp.compile_filter(profile)

    small = smallfilter.shrink(exported)

    assert len(exported) > len(small) > 8 * 600
    assert JUMP in {code for code, *_ in decoded(small)}
    assert_same(exported, small, around([2, 4]))


def argument(number: int) -> dict[str, Any]:
    return {"index": number % 6, "op": "SCMP_CMP_EQ", "value": number % 5}


VALUES = (0, 1, 0x20008, WORD, 1 << 32, (1 << 32) + 1, 1 << 63, LONG)
ARGUMENTS = st.fixed_dictionaries(
    {
        "index": st.integers(0, 5),
        "op": st.sampled_from(sorted(seccomp.COMPARISONS)),
        "value": st.sampled_from(VALUES),
        "valueTwo": st.sampled_from(VALUES),
    }
)
RULES = st.fixed_dictionaries(
    {
        "names": st.lists(st.sampled_from(PLAIN), min_size=1, max_size=4),
        "action": st.sampled_from(sorted(seccomp.ACTIONS)),
        "errnoRet": st.sampled_from((0, 1, 38)),
        "args": st.lists(ARGUMENTS, max_size=3),
    }
)
PROFILES = st.fixed_dictionaries(
    {
        "defaultAction": st.sampled_from(sorted(seccomp.ACTIONS)),
        "architectures": st.lists(
            st.sampled_from([f"SCMP_ARCH_{n}" for n in ("X86_64", "X86", "X32", "AARCH64", "ARM")]),
            unique=True,
        ),
        "syscalls": st.lists(RULES, min_size=2, max_size=8),
    }
)


# The same profiles each time: with some that chance makes (a call in several rules, each with
# comparisons of its own) libseccomp itself never comes back from seccomp_rule_add_array.
@given(PROFILES)
@settings(PATIENT, max_examples=60, derandomize=True, database=None)
def test_any_profile_answers_the_same(profile: dict[str, Any]) -> None:
    try:
        exported = seccomp.compile_filter(profile)
    except seccomp.SeccompError:
        return  # of rules that contradict each other nothing is made

    assert_same(exported, smallfilter.shrink(exported), around(VALUES), range(0, 480, 3))


# --- programs by chance ---------------------------------------------------------------------------

CONSTANTS = (0, 1, 5, 6, 7, 300, X32, X86, X86_64, WORD)
RETURNS = (ALLOW, ERRNO | 1, ERRNO | 38, 0)
CHANCE = mixed((*CONSTANTS, 0xFF, 0xFE, 0x100), 60)
STARTS = {  # what a block begins with, and the conditions that may follow
    ((LOAD, 0, 0, 0),): (EQUAL, EQUAL, GREATER, AT_LEAST),
    ((LOAD, 0, 0, 4),): (EQUAL,),
    ((LOAD, 0, 0, 16),): CONDITIONS,
    ((LOAD, 0, 0, 60),): CONDITIONS,
    ((LOAD, 0, 0, 16), (AND, 0, 0, 0xFF)): CONDITIONS,
    ((LOAD, 0, 0, 16), (AND, 0, 0, 0)): CONDITIONS,
    ((LOAD, 0, 0, 16), (AND, 0, 0, 7), (AND, 0, 0, 0xFC)): CONDITIONS,
}


@st.composite
def understood(draw: st.DrawFn) -> bytes:
    """Blocks that load a word and ask about it, once or more; each answer leads to any later
    block or to a return, or on to the next question."""
    plans = draw(
        st.lists(st.tuples(st.sampled_from([*STARTS]), st.integers(1, 3)), min_size=2, max_size=14)
    )
    firsts = [0]
    for start, count in plans:
        firsts.append(firsts[-1] + len(start) + count)
    returns = range(firsts[-1], firsts[-1] + len(RETURNS))
    steps: list[Instruction] = []
    for block, (start, count) in enumerate(plans):
        steps += start
        later = st.sampled_from([*firsts[block + 1 : -1] * 2, *returns])
        for question in range(count):
            after = len(steps) + 1
            ends = later if question == count - 1 else st.one_of(later, st.just(after))
            code, value = draw(st.sampled_from(STARTS[start])), draw(st.sampled_from(CONSTANTS))
            steps.append((code, draw(ends) - after, draw(ends) - after, value))
    return encoded(*steps, *((RETURN, 0, 0, value) for value in RETURNS))


@given(understood())
@settings(PATIENT, max_examples=60)
def test_any_program_that_is_understood_answers_the_same(program: bytes) -> None:
    assert_same(program, smallfilter.shrink(program), CHANCE, range(4))


@given(
    st.lists(
        st.tuples(st.sampled_from(CODES), st.integers(0, 3), st.integers(0, 3), st.integers(0, 4)),
        max_size=30,
    )
)
@settings(PATIENT, max_examples=100)
def test_any_program_at_all_is_no_failure(steps: list[Instruction]) -> None:
    program = encoded(*steps, GIVE)

    assert len(smallfilter.shrink(program)) <= len(program)


# --- what stays as it was -------------------------------------------------------------------------

GIVE = (RETURN, 0, 0, ALLOW)
SAME = (EQUAL, 0, 0, 3)  # asks, and goes on the same way for yes and no


@pytest.mark.parametrize("word", [0, 4, 16])
def test_what_asks_in_vain_is_taken_away(word: int) -> None:
    assert smallfilter.shrink(encoded((LOAD, 0, 0, word), SAME, SAME, GIVE)) == encoded(GIVE)


def test_jumps_are_as_long_as_a_condition_can_reach_and_no_longer() -> None:
    """Of these sizes some have a jump of just that length."""
    for size in range(270, 315):
        program = encoded(*one_by_one(ERRNO | (n if n % 4 < 2 else 0) for n in range(size)))
        small = smallfilter.shrink(program)

        assert len(small) < len(program)
        before, after = decoded(program), decoded(small)
        for number in range(size + 1):
            assert answer(after, [number]) == answer(before, [number])


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(0x80, 0, 0, 0)], id="a load of the length"),
        pytest.param([(LOAD, 0, 0, 2)], id="a load across words"),
        pytest.param([(0x04, 0, 0, 1)], id="an addition"),
        pytest.param([(0x61, 0, 0, 0)], id="the other register"),
        pytest.param([(0x1D, 0, 1, 0), GIVE], id="a comparison of both registers"),
        pytest.param([(LOAD, 0, 0, 0), (ANY_BIT, 0, 1, X32), GIVE], id="a bit of the number"),
        pytest.param([(LOAD, 0, 0, 0), (AND, 0, 0, 1), (EQUAL, 0, 1, 0), GIVE], id="a part of it"),
        pytest.param([(LOAD, 0, 0, 4), (AT_LEAST, 0, 1, 9), GIVE], id="architectures in order"),
        pytest.param([(LOAD, 0, 0, 0), (EQUAL, 9, 0, 1)], id="a jump over the end"),
    ],
)
def test_what_is_not_understood_stays(steps: list[Instruction]) -> None:
    program = encoded(*steps, (LOAD, 0, 0, 0), SAME, SAME, (RETURN, 0, 0, ERRNO))

    assert smallfilter.shrink(program) == program


@pytest.mark.parametrize("program", [b"", b"\x06", encoded(GIVE)[:-1], encoded((LOAD, 0, 0, 0))])
def test_what_is_no_program_stays(program: bytes) -> None:
    assert smallfilter.shrink(program) == program


def one_by_one(answers: Iterable[int]) -> list[Instruction]:
    """A return for each number."""
    asked = [[(EQUAL, 0, 1, n), (RETURN, 0, 0, action)] for n, action in enumerate(answers)]
    return [(LOAD, 0, 0, 0), *(step for pair in asked for step in pair), GIVE]


def test_a_program_that_would_grow_stays() -> None:
    """An argument looked at before the number is looked at for each number that differs."""
    arguments_first = [
        step
        for value in range(60)
        for step in ((LOAD, 0, 0, 16), (EQUAL, 0, 1, value), (RETURN, 0, 0, ERRNO | value))
    ]
    program = encoded(*arguments_first, *one_by_one(ERRNO | n for n in range(60)))

    assert smallfilter.shrink(program) == program


WASTEFUL = encoded(*one_by_one([ALLOW] * 7 + [ERRNO] + [ALLOW] * 9 + [ERRNO] * 20 + [ALLOW] * 9))


def test_a_program_is_given_up_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(smallfilter.shrink(WASTEFUL)) < len(WASTEFUL)

    monkeypatch.setattr(smallfilter, "_MAX_NODES", 2)

    assert smallfilter.shrink(WASTEFUL) == WASTEFUL


@pytest.mark.parametrize(
    ("part", "mistaken"),
    [
        ("_search", lambda _graph, ranges: ranges[0][1]),
        ("_chain", lambda _graph, node, _exceptions: node),
    ],
)
def test_a_mistake_in_writing_is_noticed(
    monkeypatch: pytest.MonkeyPatch, part: str, mistaken: Callable[..., int]
) -> None:
    """What was written is read again; where it means something else, nothing is changed."""
    monkeypatch.setattr(smallfilter, part, mistaken)

    assert smallfilter.shrink(WASTEFUL) == WASTEFUL
