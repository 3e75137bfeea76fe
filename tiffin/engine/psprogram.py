"""`top` with options of ps(1): the host's ps is asked, and what is not the container's left out."""

from __future__ import annotations

import grp
import re
import shutil
import subprocess
from collections.abc import Callable

from tiffin.core.container import IdRange
from tiffin.engine.top import Table, inside, user_name
from tiffin.errors import InvalidArgument, Unsupported

_DEADLINE_SECONDS = 30
_SEARCH = "/usr/bin:/bin:/usr/sbin:/sbin"
# "-o time=PID" would call another column the one that we tell processes by.
_RENAMED = re.compile(r"\s+(\S*)=\s*(PID\S*)")
_SPACES = re.compile(r"[ \t\n\v\f\r]+")  # as ps separates; names may hold Unicode's others


def ask_ps(pids: list[int], arguments: str, ids: IdRange | None) -> Table:
    """Raises InvalidArgument for what ps refuses, Unsupported where the host has no ps.

    `ids`: the host's for the container's, which is how owners are told.
    """
    for name, value in _RENAMED.findall(arguments):
        if name != "pid":
            raise InvalidArgument(f'specifying "{name}={value}" is not allowed')
    program = shutil.which("ps", path=_SEARCH)
    if program is None:
        raise Unsupported("top with options needs ps(1), which this host has not")
    return with_own_owners(parse(_run(program, _words(arguments), pids), pids), ids)


def _run(program: str, words: list[str], pids: list[int]) -> str:
    """With the processes named where that goes with the other options; else of all there are."""
    named = ["-q", ",".join(map(str, pids))] if pids else []
    finished = _ps([program, *words, *named])
    if finished.returncode != 0 and named:
        finished = _ps([program, *words])
    if finished.returncode != 0:
        lines = finished.stderr.strip().splitlines() or [f"exit status {finished.returncode}"]
        raise InvalidArgument(f"ps: {lines[0]}")
    return finished.stdout


def _ps(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DEADLINE_SECONDS,
            check=False,
            env={"PATH": _SEARCH, "LC_ALL": "C.UTF-8"},
        )
    except subprocess.TimeoutExpired as error:
        raise InvalidArgument("ps: took too long") from error
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"ps: {error}") from error


def parse(output: str, pids: list[int]) -> Table:
    """The last column takes the rest of its line. Rows without a pid belong to the row before."""
    lines = [_words(line) for line in output.split("\n") if line.strip()]
    titles = lines[0] if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    place = titles.index("PID")
    wanted = {str(pid) for pid in pids}
    rows, before = [], False
    for words in lines[1:]:
        shown = words[place] if place < len(words) else ""
        mine = shown in wanted or (shown == "-" and before)
        if mine:
            last = len(titles) - 1
            rows.append([*words[:last], " ".join(words[last:])])
        before = mine
    return Table(titles, rows)


def with_own_owners(table: Table, ids: IdRange | None) -> Table:
    """Where ps can tell an owner by the host's number alone, it is told as in the container."""
    if ids is None:
        return table
    full = {"C", "STIME"} <= {*table.titles}  # -f: its UID is a name
    tellers = [
        user_name if title in _USERS or (title == "UID" and full) else _TELLERS.get(title)
        for title in table.titles
    ]

    def told(word: str, teller: Callable[[int], str] | None) -> str:
        host = int(word) if teller and word.isascii() and word.isdecimal() else -1
        own = inside(host, ids)
        return word if teller is None or own == host else teller(own)

    rows = [[told(*pair) for pair in zip(row, tellers, strict=False)] for row in table.rows]
    return Table(table.titles, rows)


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


_USERS = frozenset({"USER", "EUSER", "RUSER", "SUSER", "FUSER"})
_TELLERS: dict[str, Callable[[int], str]] = {
    **dict.fromkeys(("GROUP", "EGROUP", "RGROUP", "SGROUP", "FGROUP"), _group_name),
    **dict.fromkeys(("UID", "EUID", "RUID", "SUID", "FUID"), str),
    **dict.fromkeys(("GID", "EGID", "RGID", "SGID", "FGID"), str),
}


def _words(text: str) -> list[str]:
    return [word for word in _SPACES.split(text) if word]
