"""Signal names as Docker takes them: "SIGTERM", "term", "15", "RTMIN+3"."""

from __future__ import annotations

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
    word = text.strip().upper().removeprefix("SIG")
    number = int(word) if word.isdecimal() else _number_of(word)
    if not 0 < number <= _RTMAX:
        raise InvalidArgument(f"Invalid signal: {text}")
    return number


def _number_of(word: str) -> int:
    word = _ALIASES.get(word, word)
    if word in NUMBERS:
        return NUMBERS[word]
    base, sign, offset = word.partition("-" if word.startswith("RTMAX") else "+")
    if base == "RTMIN" and (not sign or offset.isdecimal()):
        return _RTMIN + int(offset or 0)
    if base == "RTMAX" and (not sign or offset.isdecimal()):
        return _RTMAX - int(offset or 0)
    return 0
