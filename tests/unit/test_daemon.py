"""The daemon's flags and configuration file: dockerd's, refused by name where they are wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tiffin.daemon import parse_options, pid_file, socket_path
from tiffin.errors import EngineFailure, InvalidArgument


def config(tmp_path: Path, document: object) -> str:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_flags_say_where_the_daemon_lives() -> None:
    options = parse_options(
        "-H unix:///a.sock --host=unix:///b.sock --data-root /d --exec-root /r "
        "--bip 10.9.0.1/24 --dns 1.1.1.1 -D --insecure-registry r:5000".split()
    )
    assert options.hosts == ("unix:///a.sock", "unix:///b.sock")
    assert (options.settings.data_root, options.settings.exec_root) == ("/d", "/r")
    assert options.settings.bridge_address == "10.9.0.1/24"
    assert options.settings.dns == ("1.1.1.1",)
    assert options.settings.insecure_registries == ("r:5000",)
    assert options.log_level == "debug"
    assert options.pidfile == "/r/tiffin.pid"


def test_two_data_roots_have_names_of_their_own() -> None:
    one, two = (parse_options(["--data-root", root]).settings for root in ("/one", "/two"))
    for name in ("bridge_name", "table_name", "cgroup_name"):
        assert getattr(one, name) != getattr(two, name)
        assert len(getattr(one, name)) <= 15


def test_the_configuration_file_has_dockerds_keys(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        {"hosts": ["unix:///c.sock"], "data-root": "/d", "debug": False, "log-level": "warn"},
    )
    options = parse_options(["--config-file", path])
    assert (options.hosts, options.log_level) == (("unix:///c.sock",), "warn")
    assert options.settings.data_root == "/d"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"nope": 1}, "don't match any configuration option: nope"),
        ({"data-root": 1}, "wrong type of value for data-root: 1"),
        ({"hosts": "unix:///x"}, "wrong type of value for hosts"),
        ({"debug": "yes"}, "wrong type of value for debug"),
        ([], "must hold a JSON object"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(
    tmp_path: Path, document: object, words: str
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_options(["--config-file", config(tmp_path, document)])


def test_what_is_said_twice_is_refused(tmp_path: Path) -> None:
    path = config(tmp_path, {"data-root": "/d"})
    with pytest.raises(InvalidArgument, match="both as a flag and in the configuration file"):
        parse_options(["--config-file", path, "--data-root", "/e"])


def test_a_configuration_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{")
    for path in ("bad", "missing"):
        with pytest.raises(InvalidArgument, match="unable to configure"):
            parse_options(["--config-file", str(tmp_path / path)])


@pytest.mark.parametrize(
    "flags",
    [
        ["-H", "tcp://0.0.0.0:2375"],
        ["-H", "/run/x.sock"],
        ["-H", "unix://x.sock"],
        ["--bip", "10.0.0.1"],
        ["--bip", "x/24"],
        ["--dns", "nope"],
        ["--log-level", "loud"],
    ],
)
def test_wrong_values_are_refused(flags: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        parse_options(flags)


def test_a_socket_is_named_by_its_path() -> None:
    assert socket_path("unix:///run/x.sock") == "/run/x.sock"


def test_a_pid_file_of_a_stranger_does_not_stop_the_daemon(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")  # init lives, and is no tiffin daemon
    with pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_pid_file_of_a_living_daemon_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getppid()}\n")
    monkeypatch.setattr("tiffin.daemon._is_daemon", lambda pid: pid == os.getppid())
    with pytest.raises(EngineFailure, match="is still running"), pid_file(str(path)):
        pass
