"""What each route makes of a request, by version where versions differ."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.unit.api.kitchen import NOW, RUNNING_ID, FakeEngine, ask, asking, image
from tiffin.api.event_json import event_json, event_matcher
from tiffin.api.messages import Query, json_response
from tiffin.api.router import Router
from tiffin.api.server import routes
from tiffin.api.versions import Version
from tiffin.core.container import LogConfig, Mount
from tiffin.core.filters import Filters
from tiffin.core.image import RootFS
from tiffin.engine.events import Event
from tiffin.engine.waiting import ExitResult
from tiffin.errors import CannotStart, InvalidArgument, NotFound
from tiffin.registry.search import SearchResult


def test_no_two_routes_answer_the_same_request() -> None:
    table = routes(FakeEngine())  # type: ignore[arg-type]
    keys = [(route.method, route.pattern) for route in table]
    assert len(keys) == len(set(keys))


def test_a_ping_says_which_builder_and_that_there_is_no_swarm() -> None:
    said = ask(FakeEngine(), "GET", "/_ping")
    assert said.body == b"OK"
    assert said.headers["Builder-Version"] == "1"
    assert said.headers["Swarm"] == "inactive"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ("{}", ["busybox", "me/app"]),
        ('{"stars":["3","5"]}', ["busybox"]),
        ('{"is-official":["false"]}', ["me/app"]),
        ('{"is-official":["true"],"stars":["9"]}', []),
        ('{"is-automated":["true"]}', []),
    ],
)
def test_what_a_search_finds_is_filtered(filters: str, names: list[str]) -> None:
    async def search(*_: object) -> tuple[SearchResult, ...]:
        official = SearchResult("busybox", star_count=7, is_official=True, is_automated=True)
        return official, SearchResult("me/app", star_count=4)

    engine = FakeEngine()
    engine.images.search = search  # type: ignore[attr-defined]
    found = ask(engine, "GET", f"/images/search?term=x&filters={filters}").json()
    assert [one["name"] for one in found] == names
    assert not any(one["is_automated"] for one in found)


@pytest.mark.parametrize("path", ["/containers/json", "/nowhere", "/v1.24/info", "/v9.9/x"])
def test_options_are_answered_with_nothing_whatever_is_there(path: str) -> None:
    said = ask(FakeEngine(), "OPTIONS", path)
    assert (said.status, said.body) == (200, b"")


def test_only_running_containers_are_listed_unless_all_are_asked_for() -> None:
    names = [one["Names"] for one in ask(FakeEngine(), "GET", "/containers/json").json()]
    assert names == [["/web"]]
    assert len(ask(FakeEngine(), "GET", "/containers/json?all=1").json()) == 2
    assert len(ask(FakeEngine(), "GET", "/containers/json?limit=1").json()) == 1


def test_a_listed_container_is_what_docker_ps_prints() -> None:
    (found,) = ask(FakeEngine(), "GET", "/containers/json").json()
    assert found["Command"] == "httpd -f -h '/my files'"
    assert found["Image"] == "busybox"
    assert found["Status"].startswith("Up ")
    assert found["State"] == "running"
    assert found["Ports"] == [
        {"PrivatePort": 53, "Type": "udp"},
        {"IP": "0.0.0.0", "PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"},
    ]


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"name": ["^/web$"]}, 1),
        ({"name": ["b"]}, 2),
        ({"status": ["exited"]}, 1),
        ({"exited": ["1"]}, 1),
        ({"exited": ["0"]}, 0),
        ({"label": ["tier=front"]}, 1),
        ({"label": ["tier=back"]}, 0),
        ({"id": ["1111"]}, 1),
        ({"id": ["111a"]}, 0),
        ({"id": [""]}, 0),
        ({"id": ["1", "2"]}, 2),
        ({"network": ["nnnn"]}, 1),
        ({"expose": ["53/udp"], "publish": ["1"]}, 1),
        ({"name": {"web": False}}, 1),
        ({"name": None}, 2),
        ({"ancestor": ["busybox"]}, 2),
        ({"ancestor": ["nono"]}, 0),
        ({"volume": ["data"]}, 1),
        ({"volume": ["/data"]}, 1),
        ({"network": ["bridge"]}, 1),
        ({"network": ["none"]}, 1),
        ({"publish": ["8080"]}, 1),
        ({"publish": ["8000-8100/tcp"]}, 1),
        ({"expose": ["53/udp"]}, 1),
        ({"health": ["none"]}, 2),
        ({"health": ["healthy"]}, 0),
        ({"before": ["web"]}, 1),
        ({"since": ["job"]}, 1),
        ({"is-task": ["true"]}, 0),
    ],
)
def test_containers_are_filtered(filters: dict[str, Any], count: int) -> None:
    said = ask(FakeEngine(), "GET", f"/containers/json?all=1&filters={json.dumps(filters)}")
    assert len(said.json()) == count


def test_a_bind_is_found_by_its_source() -> None:
    engine = FakeEngine()
    bound = (Mount("bind", "/srv/site", "/www"),)
    engine.containers.found[1] = msgspec.structs.replace(engine.containers.found[1], mounts=bound)

    def count(volume: str) -> int:
        filters = json.dumps({"volume": [volume]})
        return len(ask(engine, "GET", f"/containers/json?all=1&filters={filters}").json())

    assert [count(volume) for volume in ("/srv/site", "/www", "/srv", "data")] == [1, 1, 0, 1]


def test_containers_of_an_image_descend_from_what_it_stands_on() -> None:
    engine = FakeEngine()
    base = engine.images.found[0]
    rootfs = RootFS(diff_ids=(*base.config.rootfs.diff_ids, "sha256:" + "ef" * 32))
    config = msgspec.structs.replace(base.config, rootfs=rootfs)
    child = msgspec.structs.replace(base, id="sha256:" + "12" * 32, config=config, tags=("app:1",))
    engine.images.found.append(child)
    job = msgspec.structs.replace(engine.containers.found[1], image_id=child.id)
    engine.containers.found[1] = job

    def names(ancestor: str) -> set[str]:
        filters = json.dumps({"ancestor": [ancestor]})
        said = ask(engine, "GET", f"/containers/json?all=1&filters={filters}")
        return {one["Names"][0] for one in said.json()}

    assert names("busybox") == {"/web", "/job"}
    assert names(child.id) == {"/job"}


def test_a_container_in_a_filter_does_not_bring_the_stopped_ones() -> None:
    for target, count in (("", 0), ("&all=1", 1)):
        filters = json.dumps({"before": ["web"]})
        said = ask(FakeEngine(), "GET", f"/containers/json?filters={filters}{target}")
        assert len(said.json()) == count


def test_a_container_that_never_ran_has_no_files_of_its_own() -> None:
    engine = FakeEngine()
    paths = ("ResolvConfPath", "HostnamePath", "HostsPath", "LogPath")
    ran = ask(engine, "GET", "/containers/job/json").json()
    assert all(ran[path] for path in paths)
    job = engine.containers.found[1]
    host = msgspec.structs.replace(job.host_config, log_config=LogConfig("local"))
    engine.containers.found[1] = msgspec.structs.replace(job, host_config=host)
    assert ask(engine, "GET", "/containers/job/json").json()["LogPath"] == ""
    state = msgspec.structs.replace(job.state, started_ns=0)
    engine.containers.found[1] = msgspec.structs.replace(job, state=state)
    assert not any(ask(engine, "GET", "/containers/job/json").json()[path] for path in paths)


def test_what_is_committed_is_named_as_asked() -> None:
    engine = FakeEngine()
    for query, name in (
        ("repo=a", "a:latest"),
        ("repo=a:b", "a:b"),
        ("repo=a:b&tag=c", "a:c"),
        ("repo=h:5000/a", "h:5000/a:latest"),
        ("tag=x", ""),
    ):
        assert ask(engine, "POST", f"/commit?container=web&{query}", {}).status == 201
        assert engine.containers.committed[-1] == name
    for query, words in (
        ("repo=A", "must be lowercase"),
        ("repo=a&tag=b%20c", "invalid tag format"),
        (f"repo=a@sha256:{'0' * 64}", "cannot import digest reference"),
    ):
        said = ask(engine, "POST", f"/commit?container=web&{query}", {})
        assert (said.status, words in said.message) == (400, True)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"colour": ["red"]}, "invalid filter 'colour'"),
        ({"status": ["odd"]}, "invalid filter 'status=odd'"),
        ({"exited": ["x"]}, "invalid filter 'exited=x'"),
        ({"before": ["nono"]}, "No such container: nono"),
        ({"before": [""]}, "No such container: "),
        ({"exited": ["x"]}, 'strconv.Atoi: parsing "x": invalid syntax'),
        ({"status": ["odd"]}, "must be one of created, running, paused, restarting, removing,"),
        ({"health": ["odd"]}, "invalid value for health (odd): must be one of none, starting,"),
        ({"publish": ["x"]}, "error while looking up for publish x: strconv.ParseUint"),
        ({"publish": [""]}, "empty string specified for ports"),
        ({"expose": ["70000"]}, "value out of range"),
        ({"expose": ["9-8"]}, "invalid range specified for port: 9-8"),
        ({"expose": ["a:1"]}, "filter for 'expose' should not contain ':': a:1"),
    ],
)
def test_a_bad_filter_is_refused(filters: dict[str, Any], message: str) -> None:
    said = ask(FakeEngine(), "GET", f"/containers/json?filters={json.dumps(filters)}")
    assert said.status in (400, 404)
    assert message in said.message


def test_the_address_at_the_top_level_is_for_clients_before_1_52() -> None:
    old = ask(FakeEngine(), "GET", "/v1.51/containers/web/json").json()["NetworkSettings"]
    new = ask(FakeEngine(), "GET", "/v1.52/containers/web/json").json()["NetworkSettings"]
    assert old["IPAddress"] == old["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"
    assert "IPAddress" not in new
    assert new["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"
    assert new["Ports"] == {
        "53/udp": None,
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}],
    }


def test_a_container_that_never_ran_shows_its_network_without_an_address() -> None:
    said = ask(FakeEngine(), "GET", "/containers/job/json").json()
    assert said["NetworkSettings"]["Networks"]["none"]["IPAddress"] == ""
    assert said["State"]["ExitCode"] == 1
    assert said["State"]["Running"] is False


@pytest.mark.parametrize(
    ("version", "has"),
    [("1.43", {"VirtualSize", "Container"}), ("1.44", {"Container"}), ("1.52", set())],
)
def test_an_image_loses_fields_as_the_api_grows(version: str, has: set[str]) -> None:
    said = ask(FakeEngine(), "GET", f"/v{version}/images/busybox/json").json()
    assert {"VirtualSize", "Container"} & said.keys() == has
    assert ("Hostname" in said["Config"]) == Version(1, int(version[2:])).before("1.50")


def test_no_image_is_older_than_time_itself() -> None:
    for until, count in [("0", 0), ("2100-01-01", 1)]:
        filters = json.dumps({"until": [until]})
        assert len(ask(FakeEngine(), "GET", f"/images/json?filters={filters}").json()) == count


def test_images_are_filtered_by_reference_as_go_matches_paths() -> None:
    for pattern, count in [("busy*", 1), ("busybox:l?test", 1), ("library/*", 0), ("b[a-u]s*", 1)]:
        filters = json.dumps({"reference": [pattern]})
        assert len(ask(FakeEngine(), "GET", f"/images/json?filters={filters}").json()) == count


def test_an_untagged_image_has_a_name_for_old_clients_only() -> None:
    engine = FakeEngine()
    engine.images.found = [msgspec.structs.replace(image(), tags=())]
    assert ask(engine, "GET", "/v1.42/images/json").json()[0]["RepoTags"] == ["<none>:<none>"]
    assert ask(engine, "GET", "/v1.43/images/json").json()[0]["RepoTags"] == []


def test_a_container_is_created_from_what_was_asked() -> None:
    engine = FakeEngine()
    said = ask(engine, "POST", "/containers/create?name=web", {"Image": "busybox", "cmd": ["true"]})
    assert said.status == 201
    assert said.json()["Warnings"] == ["beware"]
    ((name, config, _),) = engine.containers.created
    assert (name, config.cmd) == ("web", ("true",))


def test_an_image_of_another_platform_is_not_found() -> None:
    body = {"Image": "busybox"}
    same = ask(FakeEngine(), "POST", "/containers/create?platform=linux/amd64", body)
    other = ask(FakeEngine(), "POST", "/containers/create?platform=linux/arm64/v8", body)
    assert (same.status, other.status) == (201, 404)
    assert "does not match the specified platform" in other.message


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_json_body_must_say_that_it_is_one(kind: str) -> None:
    engine = FakeEngine()
    said = ask(engine, "POST", "/containers/create", {"Image": "busybox"}, content_type=kind)
    assert said.status == 400
    assert not engine.containers.created


def test_wait_answers_at_once_and_ends_with_the_exit() -> None:
    async def scene() -> None:
        engine = FakeEngine()
        asked = asyncio.create_task(asking(engine, "POST", "/containers/web/wait"))
        while engine.containers.exit is None:
            await asyncio.sleep(0)
        engine.containers.exit.set_result(ExitResult(3, ""))
        said = await asked
        assert (said.status, said.json()) == (200, {"StatusCode": 3})

    asyncio.run(scene())
    assert ask(FakeEngine(), "POST", "/containers/nono/wait").status == 404
    assert ask(FakeEngine(), "POST", "/containers/web/wait?condition=odd").status == 400


def test_logs_are_framed_and_stamped() -> None:
    said = ask(FakeEngine(), "GET", "/containers/web/logs?stdout=1&stderr=1&timestamps=1")
    stamp = b"2023-11-14T22:13:20.000000000Z "
    assert said.content_type == "application/vnd.docker.multiplexed-stream"
    assert said.body.startswith(b"\x01\0\0\0" + (len(stamp) + 4).to_bytes(4, "big") + stamp)
    assert said.body.endswith(b"err\n")
    old = ask(FakeEngine(), "GET", "/v1.41/containers/web/logs?stdout=1")
    assert old.content_type == "application/vnd.docker.raw-stream"


def test_a_pull_that_fails_at_once_has_a_status_and_later_a_last_line() -> None:
    engine = FakeEngine()
    engine.images.messages = [NotFound("pull access denied for nono")]
    assert ask(engine, "POST", "/images/create?fromImage=nono&tag=x").status == 404
    engine.images.messages = [{"status": "Pulling"}, NotFound("gone")]
    said = ask(engine, "POST", "/images/create?fromImage=nono&tag=x")
    assert said.status == 200
    first, last = said.body.splitlines()
    assert json.loads(first) == {"status": "Pulling"}
    assert json.loads(last) == {"errorDetail": {"message": "gone"}, "error": "gone"}
    assert said.body.endswith(b"\r\n")


def test_old_clients_get_a_rendered_progress_bar() -> None:
    engine = FakeEngine()
    engine.images.messages = [{"status": "x", "progressDetail": {"current": 5, "total": 10}}]
    old = ask(engine, "POST", "/v1.47/images/create?fromImage=a&tag=b").json()
    assert old["progress"].endswith("5B/10B")
    assert "progress" not in ask(engine, "POST", "/images/create?fromImage=a&tag=b").json()


def test_volumes_are_filtered_and_pruned_by_version() -> None:
    engine = FakeEngine()
    used = ask(engine, "GET", '/volumes?filters={"dangling":["false"]}').json()["Volumes"]
    assert [volume["Name"] for volume in used] == ["data"]
    named = '{"label!":["x"]}'
    old = ask(engine, "POST", f"/v1.41/volumes/prune?filters={named}").json()
    new = ask(engine, "POST", f"/volumes/prune?filters={named}").json()
    everything = ask(engine, "POST", '/volumes/prune?filters={"all":["1"]}').json()
    assert len(old["VolumesDeleted"]) == len(everything["VolumesDeleted"]) == 2
    assert new["VolumesDeleted"] == ["0" * 64]


def test_a_prune_of_what_is_older_than_time_itself_takes_nothing() -> None:
    engine = FakeEngine()

    async def prune(matches: Callable[[Any], bool]) -> tuple[list[str], int]:
        return [one.id for one in engine.containers.found if matches(one)], 0

    engine.containers.prune = prune  # type: ignore[attr-defined]
    asked = '/containers/prune?filters={"until":["%s"]}'
    pruned = [ask(engine, "POST", asked % until).json() for until in ("0", "2100-01-01")]
    assert [len(one["ContainersDeleted"] or ()) for one in pruned] == [0, 2]


def test_who_has_no_network_is_on_none() -> None:
    engine = FakeEngine()
    web = engine.containers.found[0]
    config = msgspec.structs.replace(web.config, network_disabled=True)
    engine.containers.found[0] = msgspec.structs.replace(web, config=config)
    assert ask(engine, "GET", "/containers/web/json").json()["NetworkSettings"]["Networks"] == {}


def test_a_network_knows_who_runs_on_it() -> None:
    engine = FakeEngine()
    bridge = engine.networks.bridge
    (end,) = engine.containers.found[0].state.endpoints
    moved = msgspec.structs.replace(end, network_id=bridge.id)
    engine.containers.found[0] = msgspec.structs.replace(
        engine.containers.found[0],
        state=msgspec.structs.replace(engine.containers.found[0].state, endpoints=(moved,)),
    )
    said = ask(engine, "GET", "/networks/bridge").json()
    assert said["Containers"][RUNNING_ID]["IPv4Address"] == "172.17.0.2/16"


@pytest.mark.parametrize(
    ("method", "target", "status", "message"),
    [
        ("DELETE", "/networks/bridge", 403, "bridge is a pre-defined network and cannot be"),
        ("GET", "/networks/nono", 404, "network nono not found"),
        ("GET", "/services", 503, "This node is not a swarm manager."),
        ("POST", "/swarm/leave", 503, "This node is not part of a swarm"),
        ("POST", "/swarm/init", 501, "swarm mode is not supported"),
        ("GET", "/plugins/a/b/json", 404, 'plugin "a/b" not found'),
        ("POST", "/build?version=2", 501, "DOCKER_BUILDKIT=0"),
        ("POST", "/build?buildargs=x", 400, "error reading build args"),
        ("POST", "/containers/web/resize", 400, "invalid syntax"),
        ("POST", f"/containers/web/resize?h={'9' * 5000}&w=1", 400, "value out of range"),
        ("POST", "/containers/web/resize?h=1&w=-1", 400, 'resize width "-1": value out of range'),
        ("GET", "/containers/web/logs?stdout=1&since=x", 400, 'ParseInt: parsing "x": invalid'),
        ("GET", "/containers/nono/logs", 400, "you must choose at least one stream"),
        ("POST", '/networks/prune?filters={"until":["x"]}', 400, "failed to parse value as time"),
        ("POST", '/containers/prune?filters={"until":["1","2"]}', 400, "more than one until"),
        ("POST", '/containers/prune?filters={"until":[""]}', 400, "failed to parse value as time"),
        ("POST", '/images/prune?filters={"until":[""]}', 400, "failed to parse value as time"),
        ("POST", '/build/prune?filters={"until":[""]}', 400, "failed to parse value as time"),
        ("POST", "/build/cancel", 400, "build ID not provided"),
        ("POST", "/build/cancel?id=x", 404, "no such build: x"),
        ("GET", f"/v1.{'9' * 5000}/info", 404, "page not found"),
        ("GET", "/events?since=20&until=10", 400, "`since` time (20) cannot be after"),
        ("GET", "/events?since=zz", 400, 'strconv.ParseInt: parsing "zz": invalid syntax'),
        ("GET", "/events?until=1.x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("GET", f"/events?since={'9' * 20}", 400, "value out of range"),
        ("GET", "/v.1/info", 400, "client version .1 is too old"),
        ("GET", "/images/search?term=x&limit=x", 400, "invalid limit specified: strconv.Atoi"),
        ("GET", "/images/search?term=x&limit=-1", 400, "invalid limit specified"),
        ("GET", '/images/search?term=x&filters={"stars":["x"]}', 400, "invalid filter 'stars=x'"),
        ("GET", '/images/search?term=x&filters={"odd":["x"]}', 400, "invalid filter 'odd'"),
        ("GET", "/containers/web/archive", 400, "path"),
        ("HEAD", "/containers/web/archive?path=%00", 400, "nul byte"),
        ("POST", "/session", 404, "page not found"),
        ("POST", "/grpc", 404, "page not found"),
        ("GET", "/v1.54/images/busybox/attestations", 400, "requires API version 1.55"),
        ("GET", "/exec/nono/json", 404, "No such exec instance: nono"),
        ("POST", "/commit?container=nono", 404, "nono"),
        ("GET", "/system/df?type=odd", 400, "unknown object type: odd"),
    ],
)
def test_what_cannot_be_is_refused_in_dockers_words(
    method: str, target: str, status: int, message: str
) -> None:
    said = ask(FakeEngine(), method, target)
    assert said.status == status
    assert message in said.message


def test_an_exec_is_made_of_its_request() -> None:
    engine = FakeEngine()
    body = {"Cmd": ["ls"], "AttachStdout": True, "ConsoleSize": [24, 80]}
    assert ask(engine, "POST", "/containers/web/exec", body).json() == {"Id": "e2"}
    assert engine.processes.records["e2"].request.console_size == (24, 80)
    assert ask(engine, "POST", "/containers/web/exec", {"Cmd": []}).status == 400
    assert ask(engine, "POST", "/containers/web/exec", {"Cmd": "ls"}).status == 400
    assert ask(engine, "POST", "/v1.41/containers/web/exec", body).json() == {"Id": "e3"}
    assert engine.processes.records["e3"].request.console_size is None


def test_an_exec_without_a_user_has_the_containers() -> None:
    engine = FakeEngine()
    web = engine.containers.found[0]
    config = msgspec.structs.replace(web.config, user="7:8")
    engine.containers.found[0] = msgspec.structs.replace(web, config=config)
    assert ask(engine, "GET", "/exec/e1/json").json()["ProcessConfig"]["user"] == "7:8"
    body = {"Cmd": ["ls"], "User": "9"}
    made = ask(engine, "POST", "/containers/web/exec", body).json()["Id"]
    assert ask(engine, "GET", f"/exec/{made}/json").json()["ProcessConfig"]["user"] == "9"


def test_a_host_config_at_start_is_refused_and_what_says_nothing_is_not() -> None:
    engine = FakeEngine()
    said = ask(engine, "POST", "/containers/web/start", {"Binds": []}, content_length="12")
    assert said.status == 400
    assert "starting container with non-empty request body" in said.message
    chunked = ask(engine, "POST", "/containers/web/start", transfer_encoding="chunked")
    assert chunked.status == 400
    for body in (b"", b"{}", b" null  "):
        answer = ask(engine, "POST", "/containers/web/start", body, content_length=str(len(body)))
        assert answer.status == 204


def test_a_signal_to_stop_with_is_for_clients_since_1_42() -> None:
    engine = FakeEngine()
    for version in ("1.41", "1.42"):
        ask(engine, "POST", f"/v{version}/containers/web/stop?signal=SIGINT")
        ask(engine, "POST", f"/v{version}/containers/web/restart?signal=SIGINT")
    assert engine.containers.signals == [None, None, "SIGINT", "SIGINT"]


def test_a_config_to_commit_with_is_read_as_one_to_create_with() -> None:
    engine = FakeEngine()
    assert ask(engine, "POST", "/commit?container=web", {"Cmd": "ls"}).status == 201
    assert ask(engine, "POST", "/commit?container=web", {"HostConfig": 1}).status == 400
    said = ask(engine, "POST", "/commit?container=web", {"Env": "A=b"})
    assert "CreateRequest.Env of type []string" in said.message


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (f"since=1&until={NOW // 10**9}", True),
        (f"since=0&until={NOW // 10**9}", True),
        (f"since=&until={NOW // 10**9}", True),
        (f"until={NOW // 10**9}", True),
        ("until=0", True),
        ("until=1", False),
    ],
)
def test_what_was_before_is_told_to_who_names_a_time(asked: str, told: bool) -> None:
    engine = FakeEngine()
    engine.events.emit("container", "start", "abc")

    assert (b"start" in ask(engine, "GET", f"/events?{asked}").body) is told


def test_events_repeat_themselves_for_clients_before_1_52() -> None:
    event = Event("container", "start", "abc", {"image": "busybox", "name": "web"}, NOW)
    old = event_json(event, Version(1, 51))
    assert (old["status"], old["id"], old["from"]) == ("start", "abc", "busybox")
    new = event_json(event, Version(1, 52))
    assert not {"status", "id", "from"} & new.keys()
    assert (new["time"], new["timeNano"]) == (NOW // 10**9, NOW)
    pruned = event_json(Event("container", "prune", "", {"reclaimed": "0"}, NOW), Version(1, 51))
    assert not {"id", "from"} & pruned.keys()


@pytest.mark.parametrize(
    ("filters", "matches"),
    [
        ({}, True),
        ({"event": ["exec_start"]}, True),
        ({"event": ["start"]}, False),
        ({"type": ["container"]}, True),
        ({"type": ["image"]}, False),
        ({"container": ["web"]}, True),
        ({"container": ["ab"]}, True),
        ({"container": ["other"]}, False),
        ({"image": ["busybox"]}, True),
        ({"image": ["nono"]}, False),
        ({"label": ["tier=front"]}, True),
        ({"volume": ["web"]}, False),
        ({"scope": ["swarm"]}, False),
    ],
)
def test_events_are_filtered(filters: dict[str, list[str]], matches: bool) -> None:
    attributes = {"image": "busybox:latest", "name": "web", "tier": "front"}
    event = Event("container", "exec_start: sh", "abc", attributes, NOW)
    assert event_matcher(Filters(filters))(event) is matches


def test_a_query_has_gos_ideas_of_true() -> None:
    query = Query("a=1&b=0&c=&d=False&e=none&f=yes&g&h=-5&i=x")
    assert [query.boolean(name) for name in "abcdefg"] == [
        True, False, False, False, False, True, False,
    ]  # fmt: skip
    assert query.integer("h") == -5
    assert query.boolean("missing", default=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a=%zz", 'invalid URL escape "%zz"'),
        ("a=1&%", 'invalid URL escape "%"'),
        ("a=%e", 'invalid URL escape "%e"'),
    ],
)
def test_a_query_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(words)):
        Query(text)


def test_a_number_that_is_none_in_64_bits_is_out_of_range() -> None:
    query = Query(f"a={2**63 - 1}&b={2**63}&c={'9' * 5000}")
    assert query.integer("a") == 2**63 - 1
    for name in "bc":
        with pytest.raises(InvalidArgument, match="value out of range"):
            query.integer(name)


def test_a_path_may_be_any_bytes_and_nothing_else_may() -> None:
    query = Query("path=/a%FF%20b+c&path=/d")
    assert os.fsencode(query.path("path")) == b"/a\xff b c"
    assert query.get("path") == "/a\ufffd b c"
    assert query.path("missing") == ""


def test_what_is_no_text_is_told_as_go_tells_it() -> None:
    name = os.fsdecode(b"/\xe9\xff")
    said = json_response([{"Path": name, "Kind": 1}, (name,), {name: None}])
    assert json.loads(said.body) == [
        {"Path": "/\ufffd\ufffd", "Kind": 1}, ["/\ufffd\ufffd"], {"/\ufffd\ufffd": None},
    ]  # fmt: skip


def test_a_restart_that_fails_says_what_it_was_and_keeps_its_status() -> None:
    engine = FakeEngine()

    async def restart(*_: object, **__: object) -> None:
        raise CannotStart("no such file", exit_code=127)

    engine.containers.restart = restart  # type: ignore[method-assign]
    said = ask(engine, "POST", "/containers/web/restart")
    assert (said.status, said.json()["message"]) == (
        400, "Cannot restart container web: no such file",
    )  # fmt: skip


def test_every_route_of_a_client_that_may_leave_is_a_stream_or_a_search() -> None:
    table = Router(routes(FakeEngine())).routes  # type: ignore[arg-type]
    cancellable = {route.pattern for route in table if route.dies_with_client}
    for lasting in ("/containers/create", "/containers/{id*}/start", "/containers/{id*}"):
        assert lasting not in cancellable
    for leaving in ("/images/create", "/build", "/events", "/containers/{id*}/logs"):
        assert leaving in cancellable


@pytest.mark.parametrize("minor", range(24, 56))
def test_every_version_from_1_24_to_1_55_is_spoken(minor: int) -> None:
    for target in (
        "/_ping",
        "/version",
        "/info",
        "/system/df",
        "/containers/json?all=1&size=1",
        "/containers/web/json",
        "/images/json",
        "/images/busybox/json",
        "/images/busybox/history",
        "/volumes",
        "/networks",
        "/networks/none",
        "/events?until=1",
        "/containers/web/logs?stdout=1",
    ):
        assert ask(FakeEngine(), "GET", f"/v1.{minor}{target}").status == 200
