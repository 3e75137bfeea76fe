"""What differs between API versions, one test for each difference that a client can see.

    1.25 the daemon removes (`AutoRemove`)  test_what_older_clients_do_not_mean_is_not_heard
    1.30 conditions of a wait            test_what_older_clients_do_not_mean_is_not_heard
    1.40 a limit of pids in an update    test_what_older_clients_do_not_mean_is_not_heard
    1.41 `one-shot`, `platform` of a create  test_what_older_clients_do_not_mean_is_not_heard
    1.42 the signal of a stop, ConsoleSize of an exec                           test_routes
    1.42 kinds of disk use               test_what_older_clients_do_not_mean_is_not_heard
    1.42 type of a framed stream         test_a_framed_stream_has_its_own_type_since_1_42
    1.43 no `<none>:<none>`              test_routes.test_an_untagged_image_has_a_name_for_old_...
    1.44 `DNSNames`                      test_names_in_dns_are_told_since_1_44
    1.44 no `VirtualSize`                test_virtual_size_ended_with_1_44
    1.44 MAC address of an endpoint, several endpoints, start interval          test_create
    1.45 `Aliases` without the short id  test_aliases_lost_the_short_id_with_1_45
    1.45 volume `Subpath`                test_create
    1.46 annotations in a list           test_annotations_are_listed_since_1_46
    1.47 `manifests` on a list           test_manifests_are_none_of_ours
    1.48 `GwPriority`                    test_the_gateways_priority_is_told_since_1_48
    1.48 `platform` on history           test_a_platform_that_an_image_has_not_is_not_found
    1.48 `platform` on load and save     test_expectations.test_a_platform_that_an_archive_...
    1.48 image mounts                    test_create
    1.49 `platform` on inspect           test_a_platform_that_an_image_has_not_is_not_found
    1.50 an image's config               test_an_images_config_lost_what_only_containers_have_...
    1.51 a real count of `Containers`    test_images_are_counted_users_of_since_1_51
    1.52 no address at the top level     test_routes.test_the_address_at_the_top_level_is_for_...
    1.52 health in a list                test_health_is_listed_since_1_52
    1.52 no `status`, `id`, `from`       test_routes.test_events_repeat_themselves_for_clients_...
    1.52 a new `/system/df`              test_disk_use_has_another_shape_since_1_52
    1.53 events as JSON lines            test_events_are_json_lines_since_1_53
    1.55 attestations                    test_attestations_are_asked_for_since_1_55

1.54's MAC address on connect waits for networks of one's own.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.unit.api.kitchen import EXITED_ID, RUNNING_ID, FakeEngine, Said, ask
from tiffin.api.create import read_update
from tiffin.api.versions import parse_version

LINUX = {"os": "linux", "architecture": "amd64"}
WINDOWS = {"os": "windows", "architecture": "amd64"}


def _get(version: str, target: str, engine: FakeEngine | None = None, **headers: str) -> Said:
    return ask(engine or FakeEngine(), "GET", f"/v{version}{target}", **headers)


def _endpoint(version: str, *aliases: str) -> dict[str, Any]:
    engine = FakeEngine()
    state = engine.containers.found[0].state
    (endpoint,) = state.endpoints
    state = msgspec.structs.replace(
        state, endpoints=(msgspec.structs.replace(endpoint, aliases=aliases),)
    )
    engine.containers.found[0] = msgspec.structs.replace(engine.containers.found[0], state=state)
    settings = _get(version, f"/containers/{RUNNING_ID}/json", engine).json()["NetworkSettings"]
    found: dict[str, Any] = settings["Networks"]["bridge"]
    return found


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("1.41", "application/vnd.docker.raw-stream"),
        ("1.42", "application/vnd.docker.multiplexed-stream"),
    ],
)
def test_a_framed_stream_has_its_own_type_since_1_42(version: str, kind: str) -> None:
    assert _get(version, f"/containers/{RUNNING_ID}/logs?stdout=1").content_type == kind


def test_what_older_clients_do_not_mean_is_not_heard() -> None:
    engine = FakeEngine()
    body = {"Image": "busybox", "HostConfig": {"AutoRemove": True}}
    for version in ("1.24", "1.25"):
        ask(engine, "POST", f"/v{version}/containers/create", body)
    assert [host.auto_remove for _, _, host in engine.containers.created] == [False, True]
    for version, status in (("1.40", 201), ("1.41", 404)):
        target = f"/v{version}/containers/create?platform=linux/s390x"
        assert ask(engine, "POST", target, {"Image": "busybox"}).status == status
    for version, status in (("1.41", 200), ("1.42", 400)):
        assert _get(version, "/system/df?type=odd").status == status
    for version, limit in (("1.39", None), ("1.40", 5)):
        assert read_update({"PidsLimit": 5}, parse_version(version)).pids_limit == limit
    assert ask(engine, "POST", "/v1.30/containers/web/wait?condition=odd").status == 400


def test_names_in_dns_are_told_since_1_44() -> None:
    assert "DNSNames" not in _endpoint("1.43", "db")
    assert _endpoint("1.44", "db")["DNSNames"] == ["web", "db", RUNNING_ID[:12]]


@pytest.mark.parametrize("target", ["/images/json", "/images/busybox/json"])
def test_virtual_size_ended_with_1_44(target: str) -> None:
    before, after = (_get(version, target).body.decode() for version in ("1.43", "1.44"))
    assert "VirtualSize" in before
    assert "VirtualSize" not in after


def test_aliases_lost_the_short_id_with_1_45() -> None:
    assert _endpoint("1.44", "db")["Aliases"] == ["db", RUNNING_ID[:12]]
    assert _endpoint("1.45", "db")["Aliases"] == ["db"]


def test_annotations_are_listed_since_1_46() -> None:
    engine = FakeEngine()
    web = engine.containers.found[0]
    host = msgspec.structs.replace(web.host_config, annotations={"a": "b"})
    engine.containers.found[0] = msgspec.structs.replace(web, host_config=host)

    (before,) = _get("1.45", "/containers/json", engine).json()
    (after,) = _get("1.46", "/containers/json", engine).json()

    assert "Annotations" not in before["HostConfig"]
    assert after["HostConfig"]["Annotations"] == {"a": "b"}


def test_manifests_are_none_of_ours() -> None:
    """As of a Docker that keeps images without containerd."""
    (found,) = _get("1.47", "/images/json?manifests=1").json()
    assert "Manifests" not in found


def test_a_networks_ipv4_is_told_since_1_47() -> None:
    assert "EnableIPv4" not in _get("1.46", "/networks/bridge").json()
    assert _get("1.47", "/networks/bridge").json()["EnableIPv4"] is True


def test_the_gateways_priority_is_told_since_1_48() -> None:
    assert "GwPriority" not in _endpoint("1.47")
    assert _endpoint("1.48")["GwPriority"] == 0


@pytest.mark.parametrize(
    ("target", "since", "before"),
    [
        ("/images/busybox/json", "1.49", "1.48"),
        ("/images/busybox/history", "1.48", "1.47"),
    ],
)
def test_a_platform_that_an_image_has_not_is_not_found(
    target: str, since: str, before: str
) -> None:
    windows, linux = (quote(json.dumps(platform)) for platform in (WINDOWS, LINUX))

    assert _get(since, f"{target}?platform={linux}").status == 200
    assert _get(before, f"{target}?platform={windows}").status == 200
    refused = _get(since, f"{target}?platform={windows}")
    assert refused.status == 404
    assert refused.message == (
        "image with reference busybox was found but its platform (linux/amd64) "
        "does not match the specified platform (windows/amd64)"
    )


@pytest.mark.parametrize(
    ("platform", "message"),
    [
        ("linux/amd64", "failed to parse platform"),
        ('{"variant":"v8"}', "optional platform fields provided, but OS and Architecture"),
        ('{"os":"linux"}', "both OS and Architecture must be provided"),
    ],
)
def test_a_platform_is_json_and_whole(platform: str, message: str) -> None:
    refused = _get("1.49", f"/images/busybox/json?platform={quote(platform)}")
    assert refused.status == 400
    assert message in refused.message


def test_an_images_config_lost_what_only_containers_have_with_1_50() -> None:
    before, after = (
        _get(version, "/images/busybox/json").json()["Config"] for version in ("1.49", "1.50")
    )
    only = {"Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty"}
    only |= {"OpenStdin", "StdinOnce", "Image"}
    assert only <= set(before)
    assert not only & set(after)


def test_images_are_counted_users_of_since_1_51() -> None:
    assert [one["Containers"] for one in _get("1.50", "/images/json").json()] == [-1]
    assert [one["Containers"] for one in _get("1.51", "/images/json").json()] == [2]


def test_health_is_listed_since_1_52() -> None:
    (before,) = _get("1.51", "/containers/json").json()
    (after,) = _get("1.52", "/containers/json").json()
    assert "Health" not in before
    assert after["Health"] == {"Status": "none", "FailingStreak": 0}


def test_shared_sizes_are_told_since_1_42_to_who_asks() -> None:
    shown = [
        _get(version, "/images/json" + query).json()[0]["SharedSize"]
        for version, query in (("1.41", "?shared-size=1"), ("1.42", ""), ("1.42", "?shared-size=1"))
    ]
    assert shown == [-1, -1, 1000]


def test_disk_use_has_another_shape_since_1_52() -> None:
    before, between, after, verbose = (
        _get(version, "/system/df" + query).json()
        for version, query in (("1.51", ""), ("1.52", ""), ("1.53", ""), ("1.52", "?verbose=1"))
    )
    assert set(before) == {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}
    names = {"ImageUsage", "ContainerUsage", "VolumeUsage", "BuildCacheUsage"}
    assert set(after) == set(verbose) == names
    assert set(between) == set(before) | names
    assert {name: between[name] for name in names} == after
    assert "Items" not in after["ContainerUsage"]
    assert {one["Id"] for one in verbose["ContainerUsage"]["Items"]} == {RUNNING_ID, EXITED_ID}
    assert before["Images"][0]["SharedSize"] == 1000
    used = before["Images"][0]["Size"] - 1000
    assert after["ImageUsage"]["Reclaimable"] == before["LayersSize"] - used
    assert after["ContainerUsage"] == {
        "ActiveCount": 1,
        "TotalCount": 2,
        "Reclaimable": 10,
        "TotalSize": 20,
    }


@pytest.mark.parametrize(
    ("version", "accept", "kind"),
    [
        ("1.52", "", "application/json"),
        ("1.53", "", "application/jsonl"),
        ("1.53", "*/*", "application/jsonl"),
        ("1.53", "application/json-seq", "application/json-seq"),
        ("1.53", "application/x-ndjson", "application/x-ndjson"),
        ("1.53", "application/json", "application/json"),
        ("1.52", "application/jsonl", "application/json"),
    ],
)
def test_events_are_json_lines_since_1_53(version: str, accept: str, kind: str) -> None:
    assert _get(version, "/events?since=1&until=2", accept=accept).content_type == kind


def test_attestations_are_asked_for_since_1_55() -> None:
    assert _get("1.54", "/images/busybox/attestations").status == 400
    assert _get("1.55", "/images/busybox/attestations").json() == []
