"""Seccomp filters made small: the rules stay libseccomp's, the shape becomes ours.

libseccomp writes a tree with a leaf for each system call. But a filter is a function of struct
seccomp_data (architecture, number, arguments), and by number it is the same over long ranges.

So the program is read as that function: for each architecture, ranges of numbers, each with what
it comes to, a node of a graph: an action, or a test of an argument between two nodes. Then it is
written anew: the architecture, a search among the ranges, the tests, and returns that all share.
What is written is read again, and must be the same function. A program with anything in it that
is not understood here stays as it was: nothing is guessed.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from itertools import pairwise
from typing import NamedTuple


class Code:
    """The instructions that libseccomp uses, as linux/bpf_common.h composes them."""

    LOAD = 0x20  # a word of struct seccomp_data into the accumulator
    AND = 0x54
    RETURN = 0x06
    JUMP = 0x05
    IF_EQUAL = 0x15
    IF_GREATER = 0x25
    IF_AT_LEAST = 0x35
    IF_ANY_BIT = 0x45


_CONDITIONS = (Code.IF_EQUAL, Code.IF_GREATER, Code.IF_AT_LEAST, Code.IF_ANY_BIT)
_INSTRUCTION = struct.Struct("=HBBI")
_REACH = 254  # a condition skips 255 at most, and one more may come before it is written
_ALL = 0xFFFFFFFF
_EXCEPTIONS = 3  # single numbers in a range that are asked for one after another
_MAX_NODES = 1 << 14

Word = tuple[int, int]  # what the accumulator holds: an offset in struct seccomp_data, and a mask
State = tuple[int, Word]  # an instruction by its index, and what is held there
Ranges = list[tuple[int, int]]  # a first number and its node, each up to the next one's first
Function = tuple[Ranges, dict[int, Ranges]]  # of most architectures, and of those that differ

_NUMBER: Word = (0, _ALL)
_ARCHITECTURE: Word = (4, _ALL)
_ZERO: Word = (0, 0)  # a word masked with nothing, and what the accumulator holds at first


class _NotUnderstoodError(Exception):
    """What there is of this program is no function that we can write."""


class _Instruction(NamedTuple):
    code: int
    if_true: int
    if_false: int
    value: int


class _Test(NamedTuple):
    word: Word
    code: int  # one of _CONDITIONS
    value: int
    yes: int  # nodes
    no: int


def shrink(program: bytes) -> bytes:
    """A filter that answers the same to everything, in fewer instructions where that can be had."""
    graph = _Graph()
    try:
        function = _read(program, graph)
        small = _write(graph, _decision(graph, function))
        return small if len(small) < len(program) and _read(small, graph) == function else program
    except _NotUnderstoodError:
        return program


class _Graph:
    """Actions and tests by index. What is equal is one node; a test comes after what it chooses."""

    def __init__(self) -> None:
        self.nodes: list[_Test | int] = []
        self._indices: dict[_Test | int, int] = {}

    def add(self, node: _Test | int) -> int:
        index = self._indices.setdefault(node, len(self.nodes))
        if index == len(self.nodes):
            self.nodes.append(node)
        if index > _MAX_NODES:
            raise _NotUnderstoodError
        return index

    def test(self, word: Word, code: int, value: int, yes: int, no: int) -> int:
        if yes == no:
            return yes
        if not word[1]:
            return yes if value == 0 and code in (Code.IF_EQUAL, Code.IF_AT_LEAST) else no
        return self.add(_Test(word, code, value, yes, no))

    def ends(self, index: int) -> tuple[int, ...]:
        node = self.nodes[index]
        return () if isinstance(node, int) else (node.yes, node.no)


# --- reading --------------------------------------------------------------------------------------


def _read(program: bytes, graph: _Graph) -> Function:
    if not program or len(program) % _INSTRUCTION.size:
        raise _NotUnderstoodError
    steps = [_Instruction(*fields) for fields in _INSTRUCTION.iter_unpack(program)]
    others, named = _ranges(steps, graph, None)
    ranges = {name: _ranges(steps, graph, name)[0] for name in named}
    return others, {name: found for name, found in ranges.items() if found != others}


def _ranges(
    steps: list[_Instruction], graph: _Graph, architecture: int | None
) -> tuple[Ranges, dict[int, None]]:
    """What the numbers of an architecture come to; and the architectures asked for on the way."""
    ways, named = _ways(steps, architecture)
    found: dict[State, Ranges] = {}
    for state in sorted(ways, reverse=True):  # jumps lead forward: what follows is known
        step = steps[state[0]]
        match [found[end] for end in ways[state]]:
            case []:
                found[state] = [(0, graph.add(step.value))]
            case [end]:
                found[state] = end
            case [yes, no]:
                found[state] = _tested(graph, state[1], step, yes, no)
    return found[0, _ZERO], named


def _ways(
    steps: list[_Instruction], architecture: int | None
) -> tuple[dict[State, list[State]], dict[int, None]]:
    """Each state that an architecture reaches, with those that it leads to."""
    ways: dict[State, list[State]] = {}
    named: dict[int, None] = {}
    reached: list[set[Word]] = [{_ZERO}, *(set() for _ in steps)]
    for index, step in enumerate(steps):
        for word in reached[index]:
            ends = _ends(step, index, word)
            if word == _ARCHITECTURE and len(ends) == 2:
                if step.code != Code.IF_EQUAL:
                    raise _NotUnderstoodError
                named[step.value] = None
                ends = [ends[step.value != architecture]]
            ways[index, word] = ends
            for end, held in ends:
                if end >= len(steps):
                    raise _NotUnderstoodError
                reached[end].add(held)
    return ways, named


def _ends(step: _Instruction, index: int, word: Word) -> list[State]:
    """Where an instruction leads: nowhere, on, or if it asks, where for yes and where for no."""
    after = index + 1
    match step.code:
        case code if code in _CONDITIONS:
            return [(after + step.if_true, word), (after + step.if_false, word)]
        case Code.RETURN:
            return []
        case Code.LOAD if step.value % 4 == 0:
            return [(after, (step.value, _ALL))]
        case Code.AND:
            return [(after, (word[0], word[1] & step.value))]
        case Code.JUMP:
            return [(after + step.value, word)]
        case _:
            raise _NotUnderstoodError


def _tested(graph: _Graph, word: Word, step: _Instruction, yes: Ranges, no: Ranges) -> Ranges:
    code, value = step.code, step.value
    if word == _NUMBER:
        if code == Code.IF_GREATER:
            code, value = Code.IF_AT_LEAST, value + 1
        if code == Code.IF_AT_LEAST:
            return _joined(_part(no, 0, value), _part(yes, value, _ALL + 1))
        if code == Code.IF_EQUAL:
            rest = _part(no, value + 1, _ALL + 1)
            return _joined(_part(no, 0, value), [(value, _at(yes, value))], rest)
    if word[1] and word[0] in (_NUMBER[0], _ARCHITECTURE[0]):
        raise _NotUnderstoodError
    firsts = sorted({first for first, _ in (*yes, *no)})
    tests = [graph.test(word, code, value, _at(yes, first), _at(no, first)) for first in firsts]
    return _joined(*([piece] for piece in zip(firsts, tests, strict=True)))


def _part(ranges: Ranges, first: int, end: int) -> Ranges:
    """The ranges from a first number up to an end."""
    if first >= end:
        return []
    left, right = bisect_left(ranges, (first + 1,)), bisect_left(ranges, (end,))
    return [(first, ranges[left - 1][1]), *ranges[left:right]]


def _at(ranges: Ranges, number: int) -> int:
    return ranges[bisect_left(ranges, (number + 1,)) - 1][1]


def _joined(*parts: Ranges) -> Ranges:
    """One after another; neighbours that come to the same are one."""
    found: Ranges = []
    for part in filter(None, parts):
        same = bool(found) and found[-1][1] == part[0][1]
        found += part[1:] if same else part
    return found


# --- writing --------------------------------------------------------------------------------------


def _decision(graph: _Graph, function: Function) -> int:
    """The node that decides all: which architecture, then which range its number is in."""
    others, named = function
    decision = _search(graph, _folded(graph, others))
    for architecture, ranges in reversed(named.items()):
        found = _search(graph, _folded(graph, ranges))
        decision = graph.test(_ARCHITECTURE, Code.IF_EQUAL, architecture, found, decision)
    return decision


def _folded(graph: _Graph, ranges: Ranges) -> Ranges:
    """Single numbers become part of a range around them: one question, where two edges are two."""
    found: list[tuple[int, int, list[tuple[int, int]]]] = []
    for (first, node), (end, following) in pairwise([*ranges, (_ALL + 1, -1)]):
        _, around, exceptions = found[-1] if found else (0, -1, [])
        if end == first + 1 and following == around and len(exceptions) < _EXCEPTIONS:
            exceptions.append((first, node))
        elif node != around:
            found.append((first, node, []))
    return [(first, _chain(graph, node, exceptions)) for first, node, exceptions in found]


def _chain(graph: _Graph, node: int, exceptions: list[tuple[int, int]]) -> int:
    for number, other in reversed(exceptions):
        node = graph.test(_NUMBER, Code.IF_EQUAL, number, other, node)
    return node


def _search(graph: _Graph, ranges: Ranges) -> int:
    """By halves."""
    middle = len(ranges) // 2
    if not middle:
        return ranges[0][1]
    low, high = _search(graph, ranges[:middle]), _search(graph, ranges[middle:])
    return graph.test(_NUMBER, Code.IF_AT_LEAST, ranges[middle][0], high, low)


def _write(graph: _Graph, root: int) -> bytes:
    """From the end, so that what is jumped to is there before the jump."""
    order = _order(graph, root)
    arrivals = {index: set[Word]() for index in order}  # what is held on the ways to a node
    arrivals[root].add(_ZERO)
    for node in (graph.nodes[index] for index in order):
        if isinstance(node, _Test):
            arrivals[node.yes].add(node.word)
            arrivals[node.no].add(node.word)
    writer = _Writer(graph)
    for index in order:
        writer.write(index, arrivals[index])
    writer.reach(root, _ZERO)
    return b"".join(_INSTRUCTION.pack(*step) for step in reversed(writer.steps))


def _order(graph: _Graph, root: int) -> list[int]:
    """What is needed, each soon after what it leads to."""
    order: dict[int, None] = {}
    waiting = [root]
    while waiting:
        if ends := [end for end in graph.ends(waiting[-1]) if end not in order]:
            waiting += ends
        else:
            order[waiting.pop()] = None
    return list(order)


class _Writer:
    """A program that grows at its beginning."""

    def __init__(self, graph: _Graph) -> None:
        self.steps: list[_Instruction] = []  # the last one first
        self._nodes = graph.nodes
        self._places: dict[tuple[int, bool], int] = {}  # of a node, entered with its word held

    def write(self, index: int, arrivals: set[Word]) -> None:
        """A test, and before it the load of its word for those who arrive with another."""
        node = self._nodes[index]
        if isinstance(node, int):
            return  # an action is written where it is needed
        yes, no = self.reach(node.yes, node.word), self.reach(node.no, node.word)
        here = len(self.steps)
        self._put(node.code, node.value, here - yes - 1, here - no - 1)
        self._places[index, True] = here
        if arrivals != {node.word}:
            offset, mask = node.word
            if mask != _ALL:
                self._put(Code.AND, mask)
            self._put(Code.LOAD, offset)
            self._places[index, False] = len(self.steps) - 1

    def reach(self, index: int, held: Word) -> int:
        """A place within a condition's reach that leads to a node, made now if there is none."""
        node = self._nodes[index]
        key = (index, not isinstance(node, int) and node.word == held)
        place, here = self._places.get(key), len(self.steps)
        if place is None or here - place - 1 > _REACH:
            if isinstance(node, int):
                self._put(Code.RETURN, node)
            else:
                self._put(Code.JUMP, here - self._places[key] - 1)
            self._places[key] = place = here
        return place

    def _put(self, code: int, value: int, if_true: int = 0, if_false: int = 0) -> None:
        self.steps.append(_Instruction(code, if_true, if_false, value))
