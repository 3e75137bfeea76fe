"""Questions to whoever sits at the terminal.

Ctrl-C is an answer, too: nothing is done, and nothing has failed.
"""

from __future__ import annotations

import posix

from tiffin.cli.failures import CommandFailed
from tiffin.cli.output import STDIN, STDOUT, say, write


def ask_line(question: str) -> bytes:
    """A line, or what there is up to the end. CommandFailed without a word after Ctrl-C."""
    answer = b""
    try:
        write(STDOUT, question.encode())
        while not answer.endswith(b"\n") and (piece := posix.read(STDIN, 1)):
            answer += piece
    except SystemExit as end:
        say("")
        raise CommandFailed(code=0) from end
    return answer.strip()


def confirmed(question: str) -> bool:
    return ask_line(f"{question} [y/N] ") in (b"y", b"Y")
