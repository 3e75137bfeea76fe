"""The seccomp filter of a container: compiled once for each profile.

A profile that somebody brings is compiled by a process of its own: there are rules from which
libseccomp does not come back (several with comparisons for one call), and nobody else is to wait.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from tiffin.kernel import seccomp
from tiffin.runtime.wording import cannot_start

DEADLINE_SECONDS = 10.0
_PACKAGE_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from tiffin.runtime.filters import main; main()"
)


async def program_of(profile: dict[str, Any], key: str, *, brought: bool) -> bytes:
    """The BPF program; `key` is the same for the same profile.

    Raises SeccompError; CannotStart where it takes too long.
    """
    program = seccomp.known(key)
    if program is None:
        program = await _compiled_apart(profile) if brought else seccomp.compile_small(profile)
        seccomp.remember(key, program)
    return program


async def _compiled_apart(profile: dict[str, Any]) -> bytes:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-X", "utf8", "-c", _BOOT, _PACKAGE_PARENT),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            program, words = await process.communicate(json.dumps(profile).encode())
    except TimeoutError as error:
        raise _refusal(f"compiling it takes more than {DEADLINE_SECONDS:.0f} seconds") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return program
    number, _, text = words.decode(errors="replace").partition(" ")
    if process.returncode == 1 and number.isdigit():
        raise seccomp.SeccompError(int(number), text)
    raise _refusal(f"compiling it failed: {words.decode(errors='replace').strip()[-200:]}")


def _refusal(why: str) -> Exception:
    report = {"message": f"seccomp profile: {why}", "operation": "compile seccomp profile"}
    return cannot_start(report)


def main() -> None:
    """A profile's JSON from stdin; the program to stdout, or what is wrong to stderr."""
    try:
        program = seccomp.compile_small(json.load(sys.stdin))
    except seccomp.SeccompError as error:
        sys.stderr.write(f"{error.errno} {error.strerror}")
        sys.exit(1)
    sys.stdout.buffer.write(program)
