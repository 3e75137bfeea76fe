"""A start of the CLI imports what the command needs, and nothing else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

from tiffin.cli.commands import COMMANDS
from tiffin.cli.execute import EXEC
from tiffin.cli.options import Command
from tiffin.cli.run import CREATE, RUN

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import tiffin.cli.main
from tiffin.cli.commands import load
load(sys.argv[2])
print(*sorted(sys.modules))
"""
COSTLY = frozenset(
    "argparse asyncio collections contextlib dataclasses enum functools inspect json logging os "
    "pathlib re signal socket subprocess tarfile threading typing urllib msgspec".split()
)


def imported_by(name: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, os.path.abspath(ROOT), name],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


EVERY = "client commands dialing failures hosts jsontext main options output surroundings targeting"
OWN = {
    "run": "create_body endpointwords run run_options",
    "exec": "execute targets",
    "ps": "listing ps tables wording",
    "version": "tables version wording",
    "start": "start targets",
    "stop": "lifecycle targets",
    "inspect": "documents inspect jsonlayout pipelining targets",
}


@pytest.mark.parametrize("name", OWN)
def test_a_hot_command_imports_these_modules_of_ours_and_no_other(name: str) -> None:
    ours = {each for each in imported_by(name) if each.startswith("tiffin.cli.")}

    assert ours == {f"tiffin.cli.{each}" for each in f"{EVERY} {OWN[name]}".split()}


@pytest.mark.parametrize("command", [RUN, CREATE, EXEC])
def test_every_check_that_is_loaded_late_is_there(command: Command) -> None:
    for check in command.checks.values():
        with contextlib.suppress(ValueError):
            check("nonsense")


@pytest.mark.parametrize(
    "name",
    ["version", "ps", "run", "exec", "stop", "rm", "logs", "images", "start", "pull", "inspect"],
)
def test_a_hot_command_imports_almost_nothing(name: str) -> None:
    modules = imported_by(name)

    assert not modules & COSTLY
    assert not {each for each in modules if each.startswith("tiffin.core")}


def test_every_command_in_the_table_exists_and_has_a_summary() -> None:
    program = (
        "import sys\nsys.path.insert(0, sys.argv[1])\n"
        "from tiffin.cli.commands import COMMANDS, load\n"
        "print(sum(bool(load(name).summary) for name in COMMANDS))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, os.path.abspath(ROOT)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert int(done.stdout) == len(COMMANDS)
