"""Signal names as Docker takes them: "SIGTERM", "term", "15", "RTMIN+3"."""

from __future__ import annotations

import re

from tiffin.errors import InvalidArgument

# Linux numbers (signal(7), x86 and arm); spelled out because core asks no operating system.
NUMBERS = {
    name: number
    for number, name in enumerate(
        (
            "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT "
            "CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
        ).split(),
        start=1,
    )
}
_ALIASES = {"IOT": "ABRT", "CLD": "CHLD", "POLL": "IO"}
_RTMIN, _RTMAX = 34, 64
_OFFSET = re.compile(r"[0-9]{1,2}", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


_NAMES = {number: name for name, number in NUMBERS.items()}


def signal_name(number: int) -> str:
    """ "SIGTERM" of 15, "SIGRTMIN+3" of 37; "signal 99" for what has no name."""
    if number in _NAMES:
        return f"SIG{_NAMES[number]}"
    if _RTMIN <= number <= _RTMAX:
        return f"SIGRTMIN+{number - _RTMIN}".removesuffix("+0")
    return f"signal {number}"


def parse_signal(text: str) -> int:
    """The number of a signal. Raises InvalidArgument in Docker's words."""
    number = _parsed(text)
    if not number:
        raise InvalidArgument(f"Invalid signal: {text}")
    if not 0 < number <= _RTMAX:
        raise InvalidArgument(f"the linux daemon does not support signal {number}")
    return number


def _parsed(text: str) -> int:
    """0 for what is none."""
    word = text.strip().upper()
    if _NUMBER.fullmatch(word):
        return int(word)
    return _number_of(word.removeprefix("SIG"))


def _number_of(word: str) -> int:
    word = _ALIASES.get(word, word)
    if word in NUMBERS:
        return NUMBERS[word]
    base, sign, offset = word.partition("-" if word.startswith("RTMAX") else "+")
    first, step = {"RTMIN": (_RTMIN, 1), "RTMAX": (_RTMAX, -1)}.get(base, (0, 0))
    if not first or (sign and not _OFFSET.fullmatch(offset)):
        return 0
    number = first + step * int(offset or 0)
    return number if _RTMIN <= number <= _RTMAX else 0
