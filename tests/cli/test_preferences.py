"""What config.json and the environment say counts for every command, as with Docker's CLI."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.fake_daemon import Answer, FakeDaemon, error
from tests.cli.sessions import ID, answer
from tests.cli.test_requests import TIFFIN
from tests.patience import patient

CREATE = "POST /containers/create"


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with FakeDaemon() as found:
        known = dict(found.routes)

        def route(request: Any) -> Answer:
            fixed = known.get(f"{request.method} {request.path}")
            return fixed if isinstance(fixed, Answer) else answer(request)

        found.answer = route  # type: ignore[method-assign]
        yield found


def run(
    program: list[str], daemon: FakeDaemon, home: Path, *words: str, **more: str
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "DOCKER_CONFIG": str(home)}
    return subprocess.run(
        [*program, "-H", daemon.host, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patient(60),
        env={**environment, **more},
        check=False,
    )


def configure(home: Path, document: object) -> None:
    (home / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("psFormat", ("ps",)),
        ("psFormat", ("container", "ls")),
        ("statsFormat", ("stats", "--no-stream", "one")),
        ("imagesFormat", ("images",)),
        ("imagesFormat", ("image", "ls")),
        ("networksFormat", ("network", "ls")),
        ("volumesFormat", ("volume", "ls")),
    ],
)
def test_a_list_has_the_format_of_the_configuration(
    program: list[str], daemon: FakeDaemon, tmp_path: Path, key: str, words: tuple[str, ...]
) -> None:
    configure(tmp_path, {key: "a format"})
    done = run(program, daemon, tmp_path, *words)
    assert set(done.stdout.splitlines()) == {"a format"}
    assert "a format" not in run(program, daemon, tmp_path, *words, "--format", "x").stdout


def test_quiet_is_quiet_all_the_same(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    configure(tmp_path, {"psFormat": "a format"})
    done = run(program, daemon, tmp_path, "ps", "-q")
    assert (done.stdout.splitlines()[0], done.stderr) == (ID[:12], "")


def test_containers_hear_of_proxies(program: list[str], daemon: FakeDaemon, tmp_path: Path) -> None:
    configure(tmp_path, {"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a,b"}}})
    run(program, daemon, tmp_path, "create", "-e", "NO_PROXY=c", "-e", "X=y", "busybox")
    assert sorted(daemon.asked(CREATE).document["Env"]) == [
        "HTTP_PROXY=http://p:1",
        "NO_PROXY=c",
        "X=y",
        "http_proxy=http://p:1",
        "no_proxy=a,b",
    ]


def test_one_daemon_may_have_proxies_of_its_own(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    both = {"default": {"ftpProxy": "no"}, daemon.host: {"httpProxy": "yes"}}
    configure(tmp_path, {"proxies": both})
    run(program, daemon, tmp_path, "create", "busybox")
    assert sorted(daemon.asked(CREATE).document["Env"]) == ["HTTP_PROXY=yes", "http_proxy=yes"]


def test_headers_go_along(program: list[str], daemon: FakeDaemon, tmp_path: Path) -> None:
    configure(tmp_path, {"HttpHeaders": {"X-Mine": "yes", "User-Agent": "no"}})
    run(program, daemon, tmp_path, "ps")
    headers = daemon.asked("GET /containers/json").headers
    assert headers["X-Mine"] == "yes"
    assert headers["User-Agent"] != "no"


def test_a_platform_may_be_the_usual_one(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    words = ("create", "busybox")
    run(program, daemon, tmp_path, *words, DOCKER_DEFAULT_PLATFORM="linux/arm64")
    assert daemon.asked(CREATE).query["platform"] == "linux/arm64"


def test_the_api_version_may_be_fixed(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    run(program, daemon, tmp_path, "ps", DOCKER_API_VERSION="1.44")
    assert daemon.asked("GET /containers/json").version == "1.44"


def test_a_configuration_that_makes_no_sense_is_no_reason_to_stop(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    for text in ("{", "[]", '{"psFormat": 1, "proxies": null, "HttpHeaders": 7}'):
        (tmp_path / "config.json").write_text(text)
        done = run(TIFFIN, daemon, tmp_path, "ps", "-q")
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, ID[:12])


@pytest.mark.parametrize("text", ["{nope", "[]", '"x"'])
def test_a_configuration_that_makes_no_sense_is_told_and_passed_over(
    program: list[str], daemon: FakeDaemon, tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.json").write_text(text)

    done = run(program, daemon, tmp_path, "ps", "-q")

    assert done.returncode == 0
    assert done.stderr.startswith(f"WARNING: Error parsing config file ({tmp_path}/config.json): ")
    assert ID[:12] in done.stdout.split()


def test_an_empty_configuration_says_nothing(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("")

    assert run(program, daemon, tmp_path, "ps", "-q").stderr == ""


@pytest.mark.parametrize("text", ["{nope", "[]"])
def test_a_configuration_that_makes_no_sense_is_not_written_over(
    daemon: FakeDaemon, tmp_path: Path, text: str
) -> None:
    (tmp_path / "config.json").write_text(text)
    assert run(TIFFIN, daemon, tmp_path, "context", "create", "other").returncode == 0

    done = run(TIFFIN, daemon, tmp_path, "context", "use", "other")

    assert done.returncode == 1
    assert f"cannot change {tmp_path}/config.json: " in done.stderr
    assert (tmp_path / "config.json").read_text() == text


def test_a_configuration_that_is_a_link_stays_one(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("{}")
    (tmp_path / "config.json").symlink_to(tmp_path / "elsewhere")
    run(program, daemon, tmp_path, "context", "create", "other")

    assert run(program, daemon, tmp_path, "context", "use", "other").returncode == 0
    assert (tmp_path / "config.json").is_symlink()
    assert json.loads((tmp_path / "elsewhere").read_text())["currentContext"] == "other"


@pytest.mark.parametrize("what", ["container", "system"])
def test_a_prune_that_nobody_confirms_is_no_failure(
    program: list[str], daemon: FakeDaemon, tmp_path: Path, what: str
) -> None:
    done = run(program, daemon, tmp_path, what, "prune")

    assert (done.returncode, done.stderr) == (0, "")
    assert not [each for each in daemon.requests if each.method == "POST"]


def test_headers_of_the_environment_go_along(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    wanted = 'X-Meta=a=b,"X-Other=c,d"'

    assert run(program, daemon, tmp_path, "ps", DOCKER_CUSTOM_HEADERS=wanted).returncode == 0
    (asked,) = [each for each in daemon.requests if each.path == "/containers/json"]
    assert (asked.headers["X-Meta"], asked.headers["X-Other"]) == ("a=b", "c,d")
    wrong = run(program, daemon, tmp_path, "ps", DOCKER_CUSTOM_HEADERS="a")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.endswith("missing \"=\" in key=value pair: 'a'\n")


def test_a_fixed_api_version_is_kept_to(
    program: list[str], daemon: FakeDaemon, tmp_path: Path
) -> None:
    old = error(400, "too new. Maximum supported API version is 1.41")
    daemon.answer = lambda _: old  # type: ignore[method-assign]

    done = run(program, daemon, tmp_path, "ps", DOCKER_API_VERSION="1.99")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error response from daemon: too new.")
    assert {each.version for each in daemon.requests} <= {"1.99", ""}


@pytest.mark.parametrize("words", [("pull", "a"), ("image", "push", "a"), ("run", "a")])
def test_trust_that_is_asked_for_is_not_left_out(
    daemon: FakeDaemon, tmp_path: Path, words: tuple[str, ...]
) -> None:
    refused = run(TIFFIN, daemon, tmp_path, *words, DOCKER_CONTENT_TRUST="1")

    assert refused.returncode == (125 if words[0] == "run" else 1)
    assert refused.stderr.startswith("there is no content trust")
    assert daemon.requests == []
    *verb, image = words
    flag = run(TIFFIN, daemon, tmp_path, *verb, "--disable-content-trust=false", image)
    assert flag.returncode == 125
    assert "there is no content trust" in flag.stderr


@pytest.mark.parametrize(
    ("words", "expected"), [(("-D", "info"), "true"), (("--debug=false", "info"), "false")]
)
def test_debugging_is_told_of(
    program: list[str], daemon: FakeDaemon, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    done = run(program, daemon, tmp_path, *words, "-f", "{{.ClientInfo.Debug}}")

    assert (done.returncode, done.stdout) == (0, f"{expected}\n")
