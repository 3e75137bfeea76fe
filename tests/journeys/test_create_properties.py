"""Any create request: a container that is whole, or a refusal that leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.wire import Wire
from tests.bodies import create_bodies, posted_bodies
from tests.live import LiveDaemon
from tests.unit.api.descriptions import check_answer

pytestmark = pytest.mark.root

VERSION = "1.55"
# The same each time: what is found by chance belongs to who looks for it.
EXAMPLES = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
FEWER = settings(EXAMPLES, max_examples=30)


def test_any_create_request_makes_a_whole_container_or_nothing(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    wire = Wire(daemon.socket, f"v{VERSION}")
    before = _left(daemon, wire)
    here = str(tmp_path)
    # What `-v` makes on the host is made below the test's own directory.
    binds = [f"{here}:/b", f"{here}/made:/b:ro", "named:/n", "/b", "a:b:c:d", f"{here}:/b:zz", ""]
    special = {
        "Image": st.just("busybox"),
        "Binds": st.lists(st.sampled_from(binds), max_size=2),
        "Source": st.sampled_from([here, f"{here}/none", "busybox", "named", "", "../x"]),
    }

    @EXAMPLES
    @given(create_bodies(VERSION, special))
    def judged(body: Any) -> None:
        answer = wire("POST", "/containers/create", {"Image": "busybox", **body})
        assert answer.status in (201, 400, 404, 409, 501), (answer.body, body)
        if answer.status != 201:
            assert answer.message
            return
        container = answer.json()["Id"]
        shown = wire("GET", f"/containers/{container}/json")
        check_answer(VERSION, "GET", "/containers/{id}/json", 200, shown.json())
        assert wire("DELETE", f"/containers/{container}?v=1").status == 204

    judged()
    wire("DELETE", "/volumes/named")
    assert _left(daemon, wire) == before
    assert "Traceback" not in daemon.log()


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/containers/{id}/exec", "/containers/web/exec"),
        ("/containers/{id}/update", "/containers/web/update"),
        ("/commit", "/commit?container=web&pause=0"),
        ("/volumes/create", "/volumes/create"),
        ("/networks/create", "/networks/create"),
        ("/networks/{id}/connect", "/networks/none/connect"),
        ("/networks/{id}/disconnect", "/networks/bridge/disconnect"),
    ],
)
def test_any_other_body_is_obeyed_or_refused_too(
    daemon: LiveDaemon, path: str, target: str
) -> None:
    wire = Wire(daemon.socket, f"v{VERSION}")
    bodies = posted_bodies(VERSION, path)  # or it is skipped
    daemon.docker("run", "-d", "--name", "web", "busybox", "sleep", "1000")

    @FEWER
    @given(bodies)
    def judged(body: Any) -> None:
        answer = wire("POST", target, body)
        assert answer.status in (200, 201, 204, 400, 403, 404, 409, 501, 503), (answer.body, body)
        if path == "/commit" and answer.status == 201:
            wire("DELETE", f"/images/{answer.json()['Id']}?force=1")

    try:
        judged()
    finally:
        daemon.docker("rm", "-f", "web")
        daemon.docker("volume", "prune", "-f", "--filter", "all=1")
    assert "Traceback" not in daemon.log()


def _left(daemon: LiveDaemon, wire: Wire) -> Any:
    containers = wire("GET", "/containers/json?all=1").json()
    volumes = wire("GET", "/volumes").json()["Volumes"]
    return containers, volumes, os.listdir(f"{daemon.data_root}/containers")
