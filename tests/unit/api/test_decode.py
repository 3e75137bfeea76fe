import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.api.decode import decode, parse_object
from tiffin.core.container import HostConfig, PortBinding
from tiffin.core.image import ContainerConfig
from tiffin.engine.processes import ExecRequest
from tiffin.errors import InvalidArgument


def test_keys_match_whatever_their_case_but_not_those_of_maps() -> None:
    config = decode({"image": "busybox", "TTY": True, "labels": {"MiXed": "x"}}, ContainerConfig)
    assert config.image == "busybox"
    assert config.tty
    assert config.labels == {"MiXed": "x"}


def test_null_is_not_given_and_a_null_element_is_its_zero() -> None:
    config = decode(
        {"Cmd": None, "Env": ["A=b", None], "ExposedPorts": {"80/tcp": None}}, ContainerConfig
    )
    assert config.cmd is None
    assert config.env == ("A=b", "")
    assert config.exposed_ports == {"80/tcp": {}}
    host = decode({"PortBindings": {"80/tcp": None, "81/tcp": [None]}}, HostConfig)
    assert host.port_bindings == {"80/tcp": (), "81/tcp": (PortBinding(),)}


def test_a_command_may_be_a_plain_string() -> None:
    config = decode({"Cmd": "true", "Entrypoint": "/bin/sh"}, ContainerConfig)
    assert config.cmd == ("true",)
    assert config.entrypoint == ("/bin/sh",)


def test_unknown_keys_are_ignored() -> None:
    assert decode({"Image": "x", "Colour": "red"}, ContainerConfig).image == "x"


IN_HOST: Any = {"prefix": "HostConfig"}
UPDATE: Any = {"root": "UpdateConfig"}


@pytest.mark.parametrize(
    ("document", "kind", "place", "words"),
    [
        ({"Hostname": 1}, ContainerConfig, {}, "number CreateRequest.Hostname string"),
        ({"Tty": "x"}, ContainerConfig, {}, "string CreateRequest.Tty bool"),
        ({"Env": "x"}, ContainerConfig, {}, "string CreateRequest.Env []string"),
        ({"Env": [1]}, ContainerConfig, {}, "number CreateRequest.Env string"),
        ({"Cmd": 1}, ContainerConfig, {}, "number CreateRequest.Cmd string"),
        ({"Cmd": [1]}, ContainerConfig, {}, "array CreateRequest.Cmd string"),
        ({"Labels": ["x"]}, ContainerConfig, {}, "array CreateRequest.Labels map[string]string"),
        ({"Labels": {"a": 1}}, ContainerConfig, {}, "number CreateRequest.Labels string"),
        ({"Volumes": []}, ContainerConfig, {}, "array CreateRequest.Volumes map[string]struct {}"),
        ({"Volumes": {"/x": 1}}, ContainerConfig, {}, "number CreateRequest.Volumes struct {}"),
        ({"ExposedPorts": []}, ContainerConfig, {}, "array CreateRequest.ExposedPorts nat.PortSet"),
        ({"StopTimeout": "x"}, ContainerConfig, {}, "string CreateRequest.StopTimeout int"),
        (
            {"Healthcheck": {"Interval": "x"}},
            ContainerConfig,
            {},
            "string HealthcheckConfig.Healthcheck.Interval time.Duration",
        ),
        ({"Binds": "x"}, HostConfig, IN_HOST, "string HostConfig.HostConfig.Binds []string"),
        ({"Binds": [3]}, HostConfig, IN_HOST, "number HostConfig.HostConfig.Binds string"),
        ({"CapAdd": 1}, HostConfig, IN_HOST, "number HostConfig.HostConfig.CapAdd string"),
        (
            {"PidMode": 1},
            HostConfig,
            IN_HOST,
            "number HostConfig.HostConfig.PidMode container.PidMode",
        ),
        ({"Mounts": "x"}, HostConfig, IN_HOST, "string HostConfig.HostConfig.Mounts []mount.Mount"),
        ({"Mounts": ["x"]}, HostConfig, IN_HOST, "string HostConfig.HostConfig.Mounts mount.Mount"),
        (
            {"Mounts": [{"Type": 1}]},
            HostConfig,
            IN_HOST,
            "number Mount.HostConfig.Mounts.Type mount.Type",
        ),
        (
            {"Mounts": [{"BindOptions": {"Propagation": 1}}]},
            HostConfig,
            IN_HOST,
            "number BindOptions.HostConfig.Mounts.BindOptions.Propagation mount.Propagation",
        ),
        (
            {"Ulimits": "x"},
            HostConfig,
            IN_HOST,
            "string HostConfig.HostConfig.Ulimits []*units.Ulimit",
        ),
        (
            {"PortBindings": {"80/tcp": ["x"]}},
            HostConfig,
            IN_HOST,
            "string HostConfig.HostConfig.PortBindings nat.PortBinding",
        ),
        (
            {"ConsoleSize": [-1]},
            HostConfig,
            IN_HOST,
            "number -1 HostConfig.HostConfig.ConsoleSize uint",
        ),
        (
            {"BlkioWeight": 70000},
            HostConfig,
            IN_HOST,
            "number 70000 HostConfig.HostConfig.BlkioWeight uint16",
        ),
        (
            {"BlkioDeviceReadBps": [{"Path": "/dev/x", "Rate": -1}]},
            HostConfig,
            IN_HOST,
            "number -1 ThrottleDevice.HostConfig.BlkioDeviceReadBps.Rate uint64",
        ),
        ({"Memory": 1.5}, HostConfig, UPDATE, "number 1.5 UpdateConfig.Memory int64"),
        ({"Memory": 2**64}, HostConfig, UPDATE, f"number {2**64} UpdateConfig.Memory int64"),
        (
            {"RestartPolicy": "x"},
            HostConfig,
            UPDATE,
            "string UpdateConfig.RestartPolicy container.RestartPolicy",
        ),
        ({"Cmd": "true"}, ExecRequest, {}, "string ExecOptions.Cmd []string"),
        ({"Detach": "x"}, ExecRequest, {}, "string ExecOptions.Detach bool"),
        ({"ConsoleSize": "x"}, ExecRequest, {}, "string ExecOptions.ConsoleSize [2]uint"),
    ],
)
def test_a_wrong_type_is_refused_in_the_words_of_gos_decoder(
    document: dict[str, Any], kind: type, place: dict[str, Any], words: str
) -> None:
    *sent, field, wanted = words.replace("struct {}", "struct_{}").split(" ")
    with pytest.raises(InvalidArgument) as refused:
        decode(document, kind, **place)
    assert refused.value.message == (
        f"invalid JSON: json: cannot unmarshal {' '.join(sent)} into Go struct field {field} "
        f"of type {wanted.replace('_', ' ')}"
    )


def test_an_array_of_two_is_filled_and_cut() -> None:
    sizes = [decode({"ConsoleSize": size}, HostConfig).console_size for size in ([7], [1, 2, 3])]
    assert sizes == [(7, 0), (1, 2)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"  ", "got EOF while reading request body"),
        (b'{"a', "unexpected EOF"),
        (b"{} {}", "unexpected content after JSON"),
        (b"[]", "json: cannot unmarshal array into Go value of type a.Type"),
        (b"3", "json: cannot unmarshal number into Go value of type a.Type"),
        (b" x", "invalid character 'x' looking for beginning of value"),
    ],
)
def test_what_is_no_json_is_refused_in_the_words_of_gos_decoder(data: bytes, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        parse_object(data, "a.Type")


@pytest.mark.parametrize("data", [b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        parse_object(data, "a.Type")


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = [field.encode_name for field in msgspec.structs.fields(HostConfig)]


@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_any_document_is_a_host_config_or_refused(document: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidArgument):
        assert isinstance(decode(document, HostConfig), HostConfig)


def test_a_body_that_there_is_no_memory_for_is_an_error_and_not_the_end() -> None:
    """The decoder alone ends the process at some of these limits: they are tried on others."""
    script = """
import os, pathlib, resource
from tiffin.api.decode import parse_object
body = b'{"Env": [' + b",".join(b'"K%d=v"' % number for number in range(400_000)) + b"]}"
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
size = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize"))
for more in range(1, 32):
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (size + (more << 20), resource.RLIM_INFINITY))
        try:
            parse_object(body, "a.Type")
        except MemoryError:
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    checkout = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", script]
    finished = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    assert set(finished.stdout.split()) == {"1"}
