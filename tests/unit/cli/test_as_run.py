"""`inspect --as run`: whatever a command line makes, the printed one makes again."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.api.container_json import image_config_json, inspect_json
from tiffin.api.create import read_create
from tiffin.api.versions import NEWEST
from tiffin.cli.as_run import CommandLine, quoted
from tiffin.cli.create_body import create_body
from tiffin.cli.options import parse
from tiffin.cli.run import RUN
from tiffin.core.container import Container
from tiffin.core.image import ContainerConfig, Healthcheck
from tiffin.core.merge import merge

IMAGE = ContainerConfig(
    env=("PATH=/bin:/usr/bin", "LANG=C"),
    cmd=("httpd", "-f"),
    entrypoint=("/entry", "--fast"),
    working_dir="/srv",
    user="daemon",
    labels={"tier": "web"},
    exposed_ports={"80/tcp": {}},
    volumes={"/data": {}},
    stop_signal="SIGQUIT",
    healthcheck=Healthcheck(test=("CMD", "probe"), interval=5_000_000_000, retries=2),
)


def inspected(words: list[str]) -> dict[str, Any]:
    """What inspect tells of the container that `tiffin run <words>` makes."""
    arguments = parse("run", RUN, words)
    assert arguments is not None
    body = create_body(arguments, (0, 0))
    if arguments.flag("detach"):
        body |= dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"), False)
    wanted = read_create(json.loads(json.dumps(body)), NEWEST)
    container = Container(
        id="ab" * 32,
        name=arguments.text("name"),
        created_ns=1,
        image_id="sha256:" + "0" * 64,
        image_reference=wanted.config.image,
        platform="linux",
        config=merge(wanted.config, IMAGE),
        host_config=wanted.host_config,
        snapshot="1",
    )
    found = inspect_json(container, NEWEST, directory="/d", log_path="/l", exec_ids=[])
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def command_of(container: dict[str, Any]) -> CommandLine:
    image = json.loads(json.dumps(image_config_json(IMAGE, NEWEST)))
    return CommandLine(container, image)


def remade(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    first = inspected(words)
    line = command_of(first)
    assert line.unsaid == []
    program, verb, *again = shlex.split(line.text())
    assert (program, verb) == ("tiffin", "run")
    return first, inspected(again)


WORD = st.text("abcXYZ012 '\"$\\!*~;&|()-_", min_size=1, max_size=8).filter(
    lambda text: text.strip() and not text.startswith("-")
)
NAME = st.text("abcdefgh", min_size=1, max_size=6)
PATH = st.lists(NAME, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
SIZE = st.integers(6 << 20, 1 << 40).map(str)
PORT = st.integers(1, 65535)


RANGES = st.tuples(PORT, PORT, st.sampled_from(["", "/udp"]))
SECURITY = ["no-new-privileges", "seccomp=unconfined", "systempaths=unconfined"]
BINDS = st.tuples(PATH, PATH, st.sampled_from(["", ":ro"]))


def flag(name: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[str]]:
    return values.map(lambda value: [f"--{name}={value}"])


FLAGS = st.one_of(
    flag("env", st.tuples(NAME, WORD).map("=".join)),
    flag("label", st.tuples(NAME, WORD).map("=".join)),
    flag("hostname", NAME),
    flag("domainname", NAME),
    flag("user", st.sampled_from(["root", "1000", "1000:50", "daemon"])),
    flag("workdir", PATH),
    flag("stop-signal", st.sampled_from(["SIGINT", "SIGQUIT", "9"])),
    flag("stop-timeout", st.integers(-1, 100)),
    flag(
        "volume",
        BINDS.map("{0[0]}:{0[1]}{0[2]}".format),
    ),
    flag("volume", PATH),
    flag("tmpfs", st.tuples(PATH, st.sampled_from(["", ":size=64m,mode=1777"])).map("".join)),
    flag("publish", PORT),
    flag(
        "publish",
        RANGES.map("{0[0]}:{0[1]}{0[2]}".format),
    ),
    flag("publish", st.tuples(PORT, PORT).map("127.0.0.1:{0[0]}:{0[1]}".format)),
    flag("expose", PORT),
    flag("memory", SIZE),
    flag("cpus", st.integers(1, 800).map(lambda hundredths: f"{hundredths / 100}")),
    flag("cpu-shares", st.integers(2, 1024)),
    flag("pids-limit", st.sampled_from([-1, 1, 100])),
    flag("shm-size", SIZE),
    flag("cap-add", st.sampled_from(["NET_ADMIN", "ALL", "sys_ptrace"])),
    flag("cap-drop", st.sampled_from(["ALL", "CHOWN"])),
    flag(
        "security-opt",
        st.sampled_from(SECURITY),
    ),
    flag("restart", st.sampled_from(["no", "always", "on-failure:3", "unless-stopped"])),
    flag("log-opt", st.sampled_from(["max-size=5m", "max-file=2"])),
    flag("network", st.sampled_from(["none", "host", "bridge"])),
    flag("dns", st.sampled_from(["1.1.1.1", "9.9.9.9"])),
    flag("add-host", st.tuples(NAME, st.just("10.0.0.1")).map(":".join)),
    flag("sysctl", st.sampled_from(["net.ipv4.ip_forward=1", "kernel.msgmax=65536"])),
    flag("ulimit", st.sampled_from(["nofile=100:200", "core=0"])),
    flag("device", st.sampled_from(["/dev/null", "/dev/null:/dev/x:rw"])),
    flag("group-add", st.sampled_from(["audio", "50"])),
    flag("health-cmd", WORD),
    flag("health-interval", st.sampled_from(["90s", "1500ms", "2m"])),
    flag("health-retries", st.integers(1, 9)),
    flag("init", st.booleans().map(lambda value: str(value).lower())),
    flag("entrypoint", st.sampled_from(["", "/bin/sh"])),
    flag("annotation", st.tuples(NAME, NAME).map("=".join)),
    st.sampled_from(["-d", "-i", "-t", "--rm", "--privileged", "--read-only", "-P"]).map(
        lambda word: [word]
    ),
    st.sampled_from(
        [
            "type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave",
            'type=volume,src=v,dst=/v,"volume-label=a=b,c",volume-nocopy,volume-subpath=x',
            "type=tmpfs,dst=/t,tmpfs-size=1048576,tmpfs-mode=1770",
        ]
    ).map(lambda text: [f"--mount={text}"]),
)


@given(st.lists(FLAGS, max_size=8), st.lists(WORD, max_size=3))
def test_the_printed_command_makes_the_same_container(
    flags: list[list[str]], program: list[str]
) -> None:
    words = [word for each in flags for word in each]
    networks = [word for word in words if word.startswith("--network")]
    words = [word for word in words if word not in networks] + networks[:1]
    if "--rm" in words:
        words = [word for word in words if not word.startswith("--restart")]
    first, second = remade([*words, "--name=web", "img", *program])
    assert second["Config"] == first["Config"]
    assert second["HostConfig"] == first["HostConfig"]
    assert second["Name"] == first["Name"]


def test_what_the_image_says_is_left_out() -> None:
    line = command_of(inspected(["-d", "--name", "web", "img"]))
    assert line.text() == "tiffin run -d --name=web img"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["-it", "--rm", "-e", "A=it's", "-p", "8080:80", "--name", "w", "img", "a b"],
            "tiffin run -i -t --name=w --env='A=it'\"'\"'s' --publish=8080:80 --rm img 'a b'",
        ),
        (
            ["--no-healthcheck", "--entrypoint", "", "--name", "w", "img", "ls"],
            "tiffin run --name=w --no-healthcheck --entrypoint= img ls",
        ),
    ],
)
def test_a_command_reads_as_one_would_write_it(words: list[str], expected: str) -> None:
    assert command_of(inspected(words)).text() == expected


def test_addresses_that_were_asked_for_are_said() -> None:
    made = inspected(["--name", "w", "img"])
    asked = {"LinkLocalIPs": ["169.254.7.7", "169.254.7.8"]}
    made["NetworkSettings"]["Networks"] = {"bridge": {"IPAMConfig": asked}}

    line = command_of(made)

    said = "--link-local-ip=169.254.7.7 --link-local-ip=169.254.7.8"
    assert line.text() == f"tiffin run --name=w {said} img"


def test_what_no_flag_says_is_named() -> None:
    made = inspected(["--name", "w", "img"])
    made["HostConfig"]["SecurityOpt"] = ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']
    made["HostConfig"]["DeviceRequests"] = [{"Count": -1}]
    made["Config"]["Healthcheck"] = {"Test": ["CMD", "a", "b c"]}
    line = command_of(made)
    assert len(line.unsaid) == 3
    assert "--health-cmd='a '\"'\"'b c'\"'\"''" in line.text()


@given(st.text("ab '\"$\\\n=-", max_size=12))
def test_a_quoted_word_is_one_word_to_a_shell(word: str) -> None:
    assert shlex.split(quoted(word)) == [word]
