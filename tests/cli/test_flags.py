"""Every command and flag that Docker's CLI shows in its help is ours too, or is named as absent."""

from __future__ import annotations

import re
import subprocess
from functools import cache

import pytest

from tests.cli.test_requests import TIFFIN
from tests.live import docker_cli_version
from tiffin.cli import main
from tiffin.cli.absent import ABSENT
from tiffin.cli.commands import COMMANDS, load

pytestmark = pytest.mark.skipif(
    docker_cli_version() < (28,), reason="an older docker command line has other flags"
)

_FLAG = re.compile(r"^ {2,6}(?:-(\w), )?--([a-z0-9-]+)", re.MULTILINE)
_HEADING = re.compile(r"^([A-Z]\w* )*[Cc]ommands:$")
# Programs of their own, which the docker CLI finds beside itself.
_PLUGINS = frozenset(("buildx", "compose"))


def docker_help(*words: str) -> str:
    done = subprocess.run(
        ["docker", *words, "--help"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "DOCKER_CONFIG": "/nonexistent"},
        check=True,
    )
    return done.stdout


def below(text: str) -> list[str]:
    """The commands that a help text lists."""
    found, inside = [], False
    for line in text.split("\n"):
        if line and not line.startswith(" "):
            inside = bool(_HEADING.match(line))
        elif inside and (match := re.match(r"^  ([a-z-]+)\*? ", line)):
            found.append(match[1])
    return found


@cache
def dockers() -> dict[str, list[tuple[str, str]]]:
    """Command -> its flags, each with its letter."""
    found: dict[str, list[tuple[str, str]]] = {}

    def walk(*words: str) -> None:
        name = " ".join(words)
        if name in ABSENT or name in _PLUGINS:
            return
        text = docker_help(*words)
        inner = below(text)
        for word in inner:
            walk(*words, word)
        if not inner:
            flags = _FLAG.findall(text)
            found[name] = [(flag, letter) for letter, flag in flags if flag != "help"]

    walk()
    return found


def test_docker_has_commands_at_all() -> None:
    assert {"run", "container run", "context ls", "system df", "volume prune"} <= set(dockers())


def test_every_command_is_here() -> None:
    assert set(dockers()) - set(COMMANDS) == set()


def test_every_flag_is_here_with_its_letter() -> None:
    missing = []
    for name, flags in dockers().items():
        ours = {option[0]: option[1] for option in load(name).options}
        plain = name.removeprefix("container ")
        missing += [
            f"{name} --{flag}"
            for flag, letter in flags
            if ours.get(flag, "(none)") != letter and f"{plain} --{flag}" not in ABSENT
        ]
    assert missing == []


def test_what_is_absent_is_absent_for_a_reason() -> None:
    for name, why in ABSENT.items():
        assert why
        command, _, flag = name.partition(" --")
        if flag:
            assert flag not in {option[0] for option in load(command).options}
        else:
            assert command not in COMMANDS


@pytest.mark.parametrize("option", ["--host", "--context", "--config", "--tls", "--tlsverify"])
def test_global_flags_are_here(option: str) -> None:
    dockers_own = {f"--{flag}" for _, flag in _FLAG.findall(docker_help())}
    assert option in dockers_own
    assert dockers_own - {"--help"} <= {*main._SWITCHES, *main._VALUES}


@pytest.mark.parametrize(
    "words",
    [
        ("--debug=maybe", "ps"),
        ("-D=x", "ps"),
        ("--tlsverify=x", "ps"),
        ("-l", "nope", "ps"),
        ("--log-level=nope", "ps"),
        ("-H", "unix:///a", "-H", "unix:///b", "ps"),
    ],
)
def test_a_global_flag_is_refused_as_docker_refuses_it(words: tuple[str, ...]) -> None:
    theirs, ours = (
        subprocess.run([*program, *words], capture_output=True, text=True, check=False)
        for program in (["docker"], TIFFIN)
    )
    assert (ours.returncode, ours.stderr.split("\n")[0]) == (
        theirs.returncode,
        theirs.stderr.split("\n")[0],
    )


@pytest.mark.parametrize("words", [("compose", "up"), ("buildx",), ("volume", "update", "v")])
def test_what_is_not_here_says_why(words: tuple[str, ...]) -> None:
    done = subprocess.run([*TIFFIN, *words], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert " is not supported: " in done.stderr
