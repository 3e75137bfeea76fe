"""What real clients expect of the Engine API, and would be surprised not to find: one test each.

hijack: 101 with Upgrade        test_a_hijack_with_an_upgrade_is_a_101
hijack: bare 200 without        test_a_hijack_without_one_is_a_bare_200
hijack: framed type             test_versions.test_a_framed_stream_has_its_own_type_since_1_42
wait: headers at once           test_wait_says_200_before_the_exit
logs: chunked frames            test_logs_are_chunked_frames_unless_it_has_a_terminal
logs: no stream                 test_logs_of_no_stream_are_refused
errors: message and newline     test_an_error_is_a_message_and_a_newline
errors: unknown route, method   test_an_unknown_route_or_method_is_no_page
errors: too new                 test_a_version_too_new_is_told_the_newest
create                          test_create_refuses_in_known_words
codes                           test_a_verb_in_the_wrong_state_has_its_code
codes of other things           test_codes_of_other_things
pull                            test_a_pull_that_cannot_begin_has_a_status
build                           test_a_build_that_fails_says_so_in_its_last_line
progress, by version            test_routes.test_old_clients_get_a_rendered_progress_bar
archive                         test_an_archive_tells_its_path_in_a_header
image prune                     test_prune_untags_one_name_after_the_other
run's exit code                 test_a_start_that_fails_has_the_words_that_clients_look_for
docker-py: /version             test_version_asks_nothing_of_the_disk
Compose: networks by name       test_a_network_is_found_by_name_and_by_id
CLI without buildx              test_a_build_takes_everything_from_the_query
Builder-Version                 test_routes.test_a_ping_says_which_builder_and_that_there_is_no_...
by version                      test_versions, test_create
1.24 upward for good            test_routes.test_every_version_from_1_24_to_1_55_is_spoken
"""

from __future__ import annotations

import base64
import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Daemon, load_busybox
from tests.api.described_calls import TAR, tar_of
from tests.api.wire import Answer, Wire
from tests.busybox import busybox_image_tar
from tests.patience import patient

pytestmark = pytest.mark.root

SLEEP = {"Image": "busybox", "Cmd": ["sleep", "300"], "StopSignal": "SIGKILL"}


@pytest.fixture(scope="module")
def house() -> Iterator[Daemon]:
    daemon = Daemon()
    try:
        load_busybox(daemon)
        yield daemon
    finally:
        daemon.close()


@pytest.fixture
def wire(house: Daemon) -> Wire:
    return Wire(house.path)


@contextmanager
def container(wire: Wire, *command: str, running: bool = False, **more: Any) -> Iterator[str]:
    body = {"Image": "busybox", "Cmd": list(command) or ["true"], "StopSignal": "SIGKILL", **more}
    made = wire("POST", "/containers/create", body)
    assert made.status == 201, made.body
    found: str = made.json()["Id"]
    try:
        if running:
            assert wire("POST", f"/containers/{found}/start").status == 204
        yield found
    finally:
        wire("DELETE", f"/containers/{found}?force=1&v=1")


@contextmanager
def finished(wire: Wire, *command: str, **more: Any) -> Iterator[str]:
    with container(wire, *command, running=True, **more) as found:
        wire("POST", f"/containers/{found}/wait")
        yield found


class Raw:
    """A connection that shows every byte."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(patient(60))
        self._socket.connect(path)
        self._received = b""

    def send(self, text: str) -> None:
        self._socket.sendall(text.replace("\n", "\r\n").encode())

    def head(self) -> list[str]:
        return self._until(b"\r\n\r\n").decode().split("\r\n")[:-2]

    def rest(self) -> bytes:
        """Until the other side ends it."""
        while data := self._socket.recv(65536):
            self._received += data
        return self._received

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            data = self._socket.recv(65536)
            assert data, self._received
            self._received += data
        head, found, self._received = self._received.partition(mark)
        return head + found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def raw(house: Daemon) -> Iterator[Raw]:
    connection = Raw(house.path)
    yield connection
    connection.close()


def frame(stream: int, text: str) -> bytes:
    return struct.pack(">BxxxL", stream, len(text)) + text.encode()


# Hijack, wait, logs.


def test_a_hijack_with_an_upgrade_is_a_101(wire: Wire, raw: Raw) -> None:
    with finished(wire, "echo", "said") as found:
        raw.send(f"POST /v1.41/containers/{found}/attach?logs=1&stdout=1 HTTP/1.1\n")
        raw.send("Host: d\nConnection: Upgrade\nUpgrade: tcp\n\n")

        head = raw.head()

        assert head[0] == "HTTP/1.1 101 UPGRADED"
        assert set(head[1:]) >= {
            "Content-Type: application/vnd.docker.raw-stream",
            "Connection: Upgrade",
            "Upgrade: tcp",
        }
        assert raw.rest() == frame(1, "said\n")


def test_a_hijack_without_one_is_a_bare_200(wire: Wire, raw: Raw) -> None:
    with finished(wire, "echo", "said") as found:
        raw.send(f"POST /v1.42/containers/{found}/attach?logs=1&stdout=1 HTTP/1.1\nHost: d\n\n")

        head = raw.head()

        assert head[0] == "HTTP/1.1 200 OK"
        assert "Content-Type: application/vnd.docker.multiplexed-stream" in head
        names = {line.partition(":")[0].lower() for line in head[1:]}
        assert not names & {"content-length", "transfer-encoding"}
        assert raw.rest() == frame(1, "said\n")


def test_a_hijack_that_joins_no_stream_ends_at_once(wire: Wire, raw: Raw) -> None:
    with container(wire, "sleep", "100") as found:
        assert wire("POST", f"/containers/{found}/start").status == 204
        raw.send(f"POST /containers/{found}/attach?stream=1 HTTP/1.1\nHost: d\n\n")

        assert raw.head()[0] == "HTTP/1.1 200 OK"
        assert raw.rest() == b""


def test_wait_says_200_before_the_exit(wire: Wire, raw: Raw) -> None:
    with container(wire, "cat", OpenStdin=True) as found:
        raw.send(f"POST /containers/{found}/wait?condition=next-exit HTTP/1.1\nHost: d\n\n")
        assert raw.head()[0] == "HTTP/1.1 200 OK"

        assert wire("POST", f"/containers/{found}/start").status == 204
        assert wire("POST", f"/containers/{found}/kill").status == 204

        assert b'{"StatusCode":137}\n' in raw._until(b"0\r\n\r\n")


@pytest.mark.parametrize(("tty", "body"), [(False, frame(1, "a\n")), (True, b"a\r\n")])
def test_logs_are_chunked_frames_unless_it_has_a_terminal(
    wire: Wire, tty: bool, body: bytes
) -> None:
    with finished(wire, "echo", "a", Tty=tty) as found:
        answer = wire("GET", f"/containers/{found}/logs?stdout=1&stderr=1")

    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == body


@pytest.mark.parametrize(("tail", "lines"), [("+1", 1), ("-0", 0), ("-1", 2), ("x", 2)])
def test_a_tail_is_read_as_go_does(wire: Wire, tail: str, lines: int) -> None:
    with finished(wire, "printf", "a\\nb\\n") as found:
        answer = wire("GET", f"/containers/{found}/logs?stdout=1&tail={tail.replace('+', '%2B')}")

    assert answer.body == (frame(1, "a\n") + frame(1, "b\n"))[(2 - lines) * 10 :]


def test_logs_of_no_stream_are_refused(wire: Wire) -> None:
    with container(wire) as found:
        answer = wire("GET", f"/containers/{found}/logs")

    assert answer.status == 400
    assert answer.message == "Bad parameters: you must choose at least one stream"


# Errors and codes.


def test_an_error_is_a_message_and_a_newline(wire: Wire) -> None:
    answer = wire("GET", "/containers/nono/json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == b'{"message":"No such container: nono"}\n'


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nowhere"), ("PUT", "/info"), ("PUT", "/v1.41/containers/json"), ("GET", "/")],
)
def test_an_unknown_route_or_method_is_no_page(wire: Wire, method: str, path: str) -> None:
    answer = wire(method, path)
    assert (answer.status, answer.message) == (404, "page not found")


def test_a_version_too_new_is_told_the_newest(wire: Wire) -> None:
    answer = wire("GET", "/v1.99/info")
    assert answer.status == 400
    assert answer.message == (
        "client version 1.99 is too new. Maximum supported API version is 1.55"
    )


def test_create_refuses_in_known_words(wire: Wire) -> None:
    create = "/containers/create"
    assert wire("POST", create, SLEEP, content_type=None).status == 400
    empty = wire("POST", create, {})
    assert (empty.status, empty.message) == (
        400,
        "config cannot be empty in order to create a container",
    )
    missing = wire("POST", create, {"Image": "nono"})
    assert (missing.status, missing.message) == (404, "No such image: nono:latest")
    with container(wire) as found:
        name = wire("GET", f"/containers/{found}/json").json()["Name"]
        taken = wire("POST", f"{create}?name={name[1:]}", SLEEP)
    assert taken.status == 409
    assert taken.message == (
        f'Conflict. The container name "{name}" is already in use by container "{found}". '
        "You have to remove (or rename) that container to be able to reuse that name."
    )


def test_a_verb_in_the_wrong_state_has_its_code(wire: Wire) -> None:
    with container(wire, "sleep", "300", running=True) as found:
        one = f"/containers/{found}"
        assert wire("POST", one + "/start").status == 304
        assert wire("DELETE", one).status == 409
        assert wire("POST", one + "/unpause").status == 409
        assert wire("POST", one + "/pause").status == 204
        assert wire("POST", one + "/pause").status == 409
        assert wire("POST", one + "/exec", {"Cmd": ["true"]}).status == 409
    with container(wire) as found:
        one = f"/containers/{found}"
        assert wire("POST", one + "/stop").status == 304
        assert wire("POST", one + "/kill").status == 409
        assert wire("POST", one + "/pause").status == 409
        assert wire("POST", one + "/exec", {"Cmd": ["true"]}).status == 409


def test_codes_of_other_things(wire: Wire) -> None:
    assert wire("DELETE", "/networks/bridge").status == 403
    assert wire("GET", "/containers/json?filters=" + quote('{"nono":["x"]}')).status == 400
    assert wire("GET", "/nodes").status == 503
    assert wire("POST", "/volumes/create", {"Name": "short-lived"}).status == 201
    assert wire("DELETE", "/volumes/short-lived").status == 204
    moved = wire("GET", "/images//json")
    assert (moved.status, moved.headers["location"]) == (301, "/images/json")


# Pull, build, archives, prune.


def test_a_pull_that_cannot_begin_has_a_status(wire: Wire) -> None:
    answer = wire("POST", "/images/create?fromImage=127.0.0.1:1/app&tag=x")
    assert answer.status == 500
    assert answer.message


def test_a_build_that_fails_says_so_in_its_last_line(wire: Wire) -> None:
    context = tar_of(Dockerfile="FROM busybox\nRUN exit 7\n")

    answer = wire("POST", "/build", context, content_type=TAR)

    assert answer.status == 200
    assert all(line.endswith(b"}\r") for line in answer.body.split(b"\n")[:-1])
    last = answer.lines()[-1]
    assert last["errorDetail"]["code"] == 7
    assert last["error"] == last["errorDetail"]["message"]


def test_an_archive_tells_its_path_in_a_header(wire: Wire) -> None:
    with container(wire) as found:
        for method in ("HEAD", "GET"):
            answer = wire(method, f"/containers/{found}/archive?path=/etc/passwd")
            told = json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))
            assert set(told) == {"name", "size", "mode", "mtime", "linkTarget"}
            assert (told["name"], told["mode"]) == ("passwd", 0o644)


def test_prune_untags_one_name_after_the_other(wire: Wire) -> None:
    context = tar_of(Dockerfile="FROM busybox\nLABEL pruned=soon\n")
    wire("POST", "/build?t=pruned:1&t=pruned:2", context, content_type=TAR)

    chosen = quote(json.dumps({"dangling": ["false"], "label": ["pruned=soon"]}))
    deleted = wire("POST", f"/images/prune?filters={chosen}").json()["ImagesDeleted"]

    untagged = [one["Untagged"] for one in deleted if "Untagged" in one]
    assert sorted(untagged) == ["pruned:1", "pruned:2"]
    assert any("Deleted" in one for one in deleted)


def test_a_platform_that_an_archive_has_not_is_refused(wire: Wire) -> None:
    wanted = quote('{"os":"windows","architecture":"amd64"}')

    loaded = wire("POST", f"/images/load?platform={wanted}", busybox_image_tar(), content_type=TAR)
    saved = wire("GET", f"/images/busybox/get?platform={wanted}")

    assert "does not match the specified platform" in loaded.lines()[-1]["error"]
    assert saved.status == 404
    assert wire("GET", f"/v1.47/images/busybox/get?platform={wanted}").status == 200


# What the docker CLI makes an exit code of.


@pytest.mark.parametrize(
    ("command", "words", "code"),
    [
        ("nono", "executable file not found", 127),
        ("/nono", "no such file or directory", 127),
        ("/etc/passwd", "permission denied", 126),
        ("/etc", "is a directory", 126),
    ],
)
def test_a_start_that_fails_has_the_words_that_clients_look_for(
    wire: Wire, command: str, words: str, code: int
) -> None:
    with container(wire, command) as found:
        answer = wire("POST", f"/containers/{found}/start")
        state = wire("GET", f"/containers/{found}/json").json()["State"]

    assert answer.status == 400
    assert words in answer.message
    assert state["ExitCode"] == code
    assert words in state["Error"]


# docker-py, Compose, the CLI.


def test_version_asks_nothing_of_the_disk(wire: Wire) -> None:
    """docker-py with version="auto" asks for each client: the answer is one small document."""
    first, second = wire("GET", "/version"), wire("GET", "/version")
    assert first.body == second.body
    assert len(first.body) < 2000


def test_a_network_is_found_by_name_and_by_id(wire: Wire) -> None:
    by_name = wire("GET", "/networks/bridge").json()
    assert wire("GET", f"/networks/{by_name['Id']}").json() == by_name
    assert wire("GET", f"/networks/{by_name['Id'][:12]}").json() == by_name


def test_a_build_takes_everything_from_the_query(wire: Wire) -> None:
    """As the docker CLI without buildx sends it."""
    query = {
        "buildargs": '{"WHO":"me"}',
        "cachefrom": "[]",
        "cgroupparent": "",
        "cpuperiod": "0",
        "cpuquota": "0",
        "cpusetcpus": "",
        "cpusetmems": "",
        "cpushares": "0",
        "dockerfile": "other/Dockerfile",
        "labels": '{"made":"so"}',
        "memory": "0",
        "memswap": "0",
        "networkmode": "default",
        "rm": "1",
        "shmsize": "0",
        "t": "asked:once",
        "target": "",
        "ulimits": "null",
        "version": "1",
    }
    context = tar_of(**{"other/Dockerfile": "FROM busybox\nARG WHO\nENV WHO=$WHO\n"})
    text = "&".join(f"{key}={quote(value)}" for key, value in query.items())

    built: Answer = wire("POST", f"/build?{text}", context, content_type=TAR)

    assert built.status == 200, built.body
    config = wire("GET", "/images/asked:once/json").json()["Config"]
    assert "WHO=me" in config["Env"]
    assert config["Labels"] == {"made": "so"}
    wire("DELETE", "/images/asked:once")
