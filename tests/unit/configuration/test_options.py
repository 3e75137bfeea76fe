"""The daemon's flags and configuration file: dockerd's, refused by name where they are wrong."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.configuration.words import DOCKERD_FLAGS
from tiffin.cli.failures import WrongUsage
from tiffin.configuration.flags import COMMAND
from tiffin.configuration.keys import ABSENT, BY_NAME, RELOADED, SETTLED, SETTLED_FLAGS
from tiffin.configuration.options import Asked, DaemonOptions, parse_options
from tiffin.core.container import LogConfig, Ulimit
from tiffin.core.runtimes import RuntimeProgram
from tiffin.errors import InvalidArgument


def config(tmp_path: Path, document: object) -> str:
    path = tmp_path / "daemon.json"
    path.write_text(json.dumps(document))
    return str(path)


def options(words: list[str]) -> DaemonOptions:
    found = parse_options(words)
    assert isinstance(found, DaemonOptions)
    return found


def test_flags_say_where_the_daemon_lives() -> None:
    found = options(
        "-H unix:///a.sock --host=unix:///b.sock --data-root /d --exec-root /r "
        "--bip 10.9.0.1/24 --dns 1.1.1.1 -D --insecure-registry r:5000 -G wheel".split()
    )
    assert found.hosts == ("unix:///a.sock", "unix:///b.sock")
    assert (found.settings.data_root, found.settings.exec_root) == ("/d", "/r")
    assert found.settings.bridge_address == "10.9.0.1/24"
    assert found.settings.dns == ("1.1.1.1",)
    assert found.settings.insecure_registries == ("r:5000",)
    assert (found.log_level, found.settings.debug) == ("debug", True)
    assert (found.pidfile, found.group) == ("/r/tiffin.pid", "wheel")


def test_an_empty_host_is_the_usual_one_and_each_counts_once() -> None:
    found = options(["--exec-root", "/r", "-H", "", "-H", "unix:///a", "-H", "unix:///a"])
    assert found.hosts == ("unix:///r/tiffin.sock", "unix:///a")


def test_two_data_roots_have_names_of_their_own() -> None:
    one, two = (options(["--data-root", root]).settings for root in ("/one", "/two"))
    for name in ("bridge_name", "table_name", "cgroup_name", "engine_id"):
        assert getattr(one, name) != getattr(two, name)
    for name in ("bridge_name", "table_name", "cgroup_name"):
        assert len(getattr(one, name)) <= 15


def test_the_configuration_file_has_dockerds_keys(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        {
            "hosts": ["unix:///c.sock"],
            "data-root": "/d",
            "debug": False,
            "log-level": "warn",
            "log-format": "json",
            "mtu": 1400,
            "ip": "127.0.0.1",
            "dns-opts": ["ndots:1"],
            "dns-search": ["example.com"],
            "labels": ["a=b"],
            "max-concurrent-downloads": 7,
            "max-concurrent-uploads": 8,
            "max-download-attempts": 2,
            "shutdown-timeout": 3,
            "registry-mirrors": ["https://m.example"],
            "proxies": {"https-proxy": "http://p:1", "no-proxy": "localhost"},
            "live-restore": True,
            "features": {},
        },
    )
    found = options(["--config-file", path])
    settings = found.settings
    assert (found.hosts, found.log_level, found.log_format) == (("unix:///c.sock",), "warn", "json")
    assert (settings.data_root, settings.mtu, settings.publish_address) == ("/d", 1400, "127.0.0.1")
    assert (settings.dns_options, settings.dns_search) == (("ndots:1",), ("example.com",))
    assert (settings.downloads, settings.uploads, settings.download_attempts) == (7, 8, 2)
    assert (settings.labels, settings.registry_mirrors) == (("a=b",), ("https://m.example",))
    assert found.shutdown_seconds == 3
    assert found.proxies == {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "localhost"}


def test_defaults_for_containers_come_from_either_place(tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    profile.write_text("{}")
    path = config(
        tmp_path,
        {
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 10, "Hard": 20}},
            "default-shm-size": "1m",
            "init": True,
            "log-driver": "json-file",
            "seccomp-profile": str(profile),
        },
    )
    words = "--log-opt max-size=1m --default-ipc-mode shareable --no-new-privileges".split()
    found = options(["--config-file", path, "--cgroup-parent", "/p", *words]).settings.defaults
    assert found.ulimits == (Ulimit("nofile", 10, 20),)
    assert (found.shm_size, found.init, found.seccomp) == (1 << 20, True, "{}")
    assert found.log_config == LogConfig("json-file", {"max-size": "1m"})
    assert (found.ipc_mode, found.no_new_privileges, found.cgroup_parent) == (
        "shareable",
        True,
        "/p",
    )
    assert options(["--default-ulimit", "core=0:1"]).settings.defaults.ulimits == (
        Ulimit("core", 0, 1),
    )


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"nope": 1, "also": 2}, "don't match any configuration option: also, nope"),
        ({"data-root": 1}, "wrong type of value for data-root: 1: it must be a string"),
        ({"hosts": "unix:///x"}, "wrong type of value for hosts"),
        ({"debug": "yes"}, "wrong type of value for debug"),
        ({"mtu": True}, "wrong type of value for mtu"),
        ({"log-opts": {"a": 1}}, "wrong type of value for log-opts: a must be a string"),
        ({"proxies": {"x": "y"}}, "don't match any configuration option: proxies.x"),
        ({"proxies": []}, "wrong type of value for proxies"),
        ({"default-ulimits": {"nofile": 3}}, "invalid default-ulimits: nofile"),
        ({"default-ulimits": {"nofile": {"Soft": 3, "Hard": 2}}}, "3 > 2"),
        ({"default-ulimits": {"files": {"Soft": 1, "Hard": 2}}}, "invalid ulimit type: files"),
        ({"dns-search": ["a b"]}, 'invalid DNS search domain: "a b"'),
        ({"dns-opts": ["a\nb"]}, "invalid DNS option"),
        ({"live-restore": False}, "live-restore: false is not supported: containers always go on"),
        ({"iptables": False}, "iptables: false is not supported"),
        (
            {"default-address-pools": [{"base": "10.0.0.0/8", "size": 24}]},
            "no user-defined network",
        ),
        ({"storage-opts": [3]}, "storage-opts: 3 is not supported"),
        (
            {"features": {"buildkit": False, "x": True}},
            'features: {"x": true} is not supported',
        ),
        ({"swarm-raft-election-tick": 3}, "there is no swarm mode"),
        ({"features": {"buildkit": True}}, "there is neither BuildKit nor"),
        ({"labels": ["a=b", "a=c"]}, "conflict labels for a=b and a=c"),
        ({"storage-driver": "btrfs"}, 'storage-driver: "btrfs" is not supported'),
        ({"exec-opts": ["native.cgroupdriver=systemd"]}, "exec-opts.*systemd.*is not supported"),
        ({"fixed-cidr": "10.0.0.0/8"}, "fixed-cidr is not supported"),
        ({"default-runtime": "kata"}, "specified default runtime .kata. does not exist"),
        ({"runtimes": {"x": {"runtimeArgs": []}}}, "invalid runtimes: x: it must be"),
        ({"runtimes": {"x": 1}}, "invalid runtimes: x: it must be"),
        ({"runtimes": {"x": {"path": "/x", "runtimeType": "y"}}}, "runtimeType is containerd.s"),
        ({"runtimes": {"tiffin": {"path": "/x"}}}, "runtime name .tiffin. is reserved"),
        ({"labels": ["x"]}, "bad attribute format: x"),
        ({"seccomp-profile": "/no/such"}, r"opening seccomp profile \(/no/such\) failed"),
        ([], "must hold a JSON object"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(
    tmp_path: Path, document: object, words: str
) -> None:
    path = config(tmp_path, document)
    with pytest.raises(InvalidArgument, match=words) as caught:
        parse_options(["--config-file", path])
    assert caught.value.message.startswith(
        f"unable to configure the tiffin daemon with file {path}: "
    )


def test_runtimes_are_added_by_a_flag_or_in_the_file(tmp_path: Path) -> None:
    path = config(tmp_path, {"runtimes": {"kata": {"path": "/k", "runtimeArgs": ["--debug"]}}})
    found = options(["--config-file", path, "--default-runtime", "kata"]).settings
    assert found.runtimes == {"kata": RuntimeProgram("/k", ("--debug",))}
    assert found.defaults.runtime == "kata"
    found = options(["--add-runtime", "one=/1", "--add-runtime", "two=/2"]).settings
    assert {name: runtime.path for name, runtime in found.runtimes.items()} == {
        "one": "/1",
        "two": "/2",
    }


def test_what_is_said_twice_is_refused_as_dockerd_says_it(tmp_path: Path) -> None:
    path = config(
        tmp_path,
        {
            "data-root": "/d",
            "dns": ["1.1.1.1"],
            "log-opts": {"a": "b"},
            "default-ulimits": {"nofile": {"Hard": 2, "Name": "nofile", "Soft": 1}},
        },
    )
    words = "--data-root /x --dns 2.2.2.2 --log-opt x=y".split()
    with pytest.raises(InvalidArgument) as caught:
        parse_options(["--config-file", path, *words])
    assert caught.value.message.endswith(
        "the following directives are specified both as a flag and in the configuration file: "
        "data-root: (from flag: /x, from file: /d), dns: (from flag: [2.2.2.2], from file: "
        "[1.1.1.1]), log-opts: (from flag: map[x:y], from file: map[a:b])"
    )


def test_a_proxys_password_is_in_no_message(tmp_path: Path) -> None:
    path = config(tmp_path, {"proxies": {"http-proxy": "http://me:secret@proxy"}})
    with pytest.raises(InvalidArgument) as caught:
        parse_options(["--config-file", path, "--http-proxy", "me:secret@other"])
    assert caught.value.message.endswith(
        "http-proxy: (from flag: xxxxx:xxxxx@other, from file: http://xxxxx:xxxxx@proxy)"
    )


def test_what_dockerd_understands_is_understood() -> None:
    found = options(["--insecure-registry", "http://r:5000", "--insecure-registry", "https://s"])
    assert found.settings.insecure_registries == ("r:5000", "s")
    assert options(["--log-level", "WARNING"]).log_level == "warn"
    assert options(["--log-level", "Debug"]).settings.debug


def test_a_configuration_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{")
    for path in ("bad", "missing"):
        with pytest.raises(InvalidArgument, match="unable to configure"):
            parse_options(["--config-file", str(tmp_path / path)])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-H", "foo://x"], "Invalid bind address format: foo://x"),
        (["-H", "unix://x.sock"], "must be absolute"),
        (["--bip", "10.0.0.1"], "invalid CIDR address"),
        (["--bip", "x/24"], "invalid CIDR address"),
        (["--dns", "nope"], "nope is not an ip address"),
        (["--log-level", "loud"], "invalid logging level: loud"),
        (["--log-driver", "nope"], "no log driver named 'nope' is registered"),
        (["--log-opt", "nope=1"], "unknown log opt 'nope' for json-file log driver"),
        (["--log-format", "xml"], "invalid log-format: xml"),
        (["--log-driver", "gelf"], "logger: no log driver named 'gelf'"),
        (["--log-opt", "colour=x"], "unknown log opt 'colour' for json-"),
        (["--mtu", "5"], "invalid default MTU: 5"),
        (["--ip", "::1"], "has no IPv6"),
        (["--max-concurrent-downloads", "-1"], "invalid max concurrent downloads: -1"),
        (["--default-ipc-mode", "x"], r'IPC mode setting \(x\) is invalid; use "shareable" or'),
        (["--default-cgroupns-mode", "x"], r'mode setting \(x\) is invalid; use "host" or'),
        (["--registry-mirror", "m"], 'invalid mirror: "m"'),
        (["--insecure-registry", "ftp://r"], "should not contain '://'"),
        (["--insecure-registry", "10.0.0.0/99"], "10.0.0.0/99 is not valid"),
        (["--insecure-registry", ""], "is not valid: invalid host"),
        (["--icc=false"], "icc: false is not supported"),
        (["-s", "zfs"], 'storage-driver: "zfs" is not supported'),
        (["--exec-opt", "a=b"], 'exec-opts: "a=b" is not supported'),
        (["--feature", "buildkit"], 'features: {"buildkit": true} is not supported'),
        (["--feature", "x=false"], 'features: {"x": false} is not supported'),
        (["--metrics-addr", "x"], "--metrics-addr is not supported: there are no metrics"),
    ],
)
def test_wrong_values_are_refused(flags: list[str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_options(flags)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--foo"], "unknown flag: --foo"),
        (["--mtu", "x"], 'invalid argument "x" for "--mtu" flag: strconv.ParseInt'),
        (["--label", "x"], 'invalid argument "x" for "--label" flag: bad attribute format: x'),
        (["--feature", "=true"], '"=true" for "--feature" flag: invalid option name: =true'),
        (["--feature", "x=y"], 'strconv.ParseBool: parsing "y": invalid syntax'),
        (["extra"], "accepts no arguments"),
    ],
)
def test_a_wrong_command_line_is_refused_as_pflag_does(flags: list[str], words: str) -> None:
    with pytest.raises(WrongUsage, match=re.escape(words)):
        parse_options(flags)


def test_what_is_so_anyway_may_be_said() -> None:
    options("--feature buildkit=false --feature containerd-snapshotter=0".split())
    words = "--live-restore --userns-remap default --storage-driver overlay2 --icc --raw-logs"
    options(
        [*words.split(), "--exec-opt", "native.cgroupdriver=cgroupfs", "--userland-proxy=false"]
    )


@pytest.mark.parametrize("text", ["", " \n", "{}"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(text)

    assert options(["--config-file", str(path)]).settings == options([]).settings


def test_help_version_and_validate_are_asked_for() -> None:
    assert parse_options(["--help"]) == Asked("help")
    assert parse_options(["-v"]) == Asked("version")
    assert options(["--validate"]).validate


def test_every_flag_of_dockerd_is_known() -> None:
    ours = {name for name, *_ in COMMAND.options}
    assert ours >= DOCKERD_FLAGS


def test_every_key_is_one_thing() -> None:
    obeyed, settled, absent = set(BY_NAME), set(SETTLED), set(ABSENT)
    assert not obeyed & settled
    assert not (obeyed | settled) & absent
    assert obeyed >= RELOADED
    assert set(SETTLED_FLAGS) <= settled


@pytest.mark.skipif(not Path("/usr/sbin/dockerd").exists(), reason="no dockerd here")
def test_every_flag_of_the_dockerd_here_is_known() -> None:
    text = subprocess.run(["dockerd", "--help"], capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"^ +(?:-\w, )?--([a-z0-9-]+)", text, re.MULTILINE))
    assert flags - {"help"} <= {name for name, *_ in COMMAND.options}
