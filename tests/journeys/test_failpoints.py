"""A kill at each step of each verb: the next daemon tells the truth, and nothing is left over.

The daemon is armed to end itself at one step (kernel.failpoints), the verb is asked for, and a new
daemon is started. The same for a container's maker and shim, which the daemon outlives.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.cycles import name_of, zygotes
from tests.live import LiveDaemon
from tests.patience import patient
from tiffin.runtime.messages import SHIM_NAME

pytestmark = pytest.mark.root

CREATE = ("create", "--name", "web", "-v", "/data", "-p", "0:80", "busybox", "sleep", "1000")
RUN = ("run", "-d", *CREATE[1:])
GONE = ""


class Case(NamedTuple):
    point: str
    before: tuple[tuple[str, ...], ...]  # what happens without a failure
    verb: tuple[str, ...]
    after: frozenset[str]  # states that tell the truth


def case(point: str, before: tuple[tuple[str, ...], ...], verb: str, *after: str) -> Case:
    return Case(point, before, tuple(verb.split()), frozenset(after))


DAEMON_DIES = [
    Case("create-snapshot", (), CREATE, frozenset({GONE})),
    Case("create-mounts", (), CREATE, frozenset({GONE})),
    Case("create-row", (), CREATE, frozenset({"created"})),
    case("start-reserved", (CREATE,), "start web", "created"),
    case("start-created", (CREATE,), "start web", "created"),
    case("start-connected", (CREATE,), "start web", "created"),
    case("start-executed", (CREATE,), "start web", "running"),
    case("start-recorded", (CREATE,), "start web", "running"),
    case("exec-asked", (RUN,), "exec web true", "running"),
    case("exec-started", (RUN,), "exec -d web sleep 1000", "running"),
    case("stop-marked", (RUN,), "stop -t 0 web", "running"),
    case("stop-signalled", (RUN,), "stop -t 0 web", "running"),
    case("exit-recorded", (RUN,), "kill web", "exited 137"),
    case("exit-released", (RUN,), "kill web", "exited 137"),
    case("restart-stopped", (RUN,), "restart -t 0 web", "exited 137"),
    case("remove-row-deleted", (RUN,), "rm -f -v web", GONE),
    case("remove-run-directory", (RUN,), "rm -f -v web", GONE),
    case("remove-volumes", (RUN,), "rm -f -v web", GONE),
    case("remove-files", (RUN,), "rm -f -v web", GONE),
    case("exit-released", (), "run --rm --name web busybox true", GONE),
    case("remove-row-deleted", (), "run --rm --name web busybox true", GONE),
    case("pause-done", (RUN,), "pause web", "running"),
    case("unpause-done", (RUN, ("pause", "web")), "unpause web", "running"),
    case("rename-claimed", (CREATE,), "rename web other", "created"),
    case("rename-row", (CREATE, ("rename", "web", "other")), "rename other web", "created"),
    case("commit-paused", (RUN,), "commit web made", "running"),
    case("commit-layer", (RUN,), "commit web made", "running"),
]
SHIM_DIES = [
    case("maker-launched", (CREATE,), "start web", "created"),
    case("maker-prepared", (CREATE,), "start web", "created"),
    case("maker-cgroup", (CREATE,), "start web", "created"),
    case("maker-recorded", (CREATE,), "start web", "created"),
    case("shim-serving", (CREATE,), "start web", "created"),
    case("shim-starting", (CREATE,), "start web", "created"),
    case("shim-exit-seen", (RUN,), "kill web", "exited 137"),
    case("shim-exit-recorded", (RUN,), "kill web", "exited 137"),
    case("shim-released", (RUN,), "kill web", "exited 137"),
]


def names(case: Case) -> str:
    return f"{case.point}: {case.verb[0]}"


@pytest.fixture(scope="module")
def daemon() -> Iterator[LiveDaemon]:
    live = LiveDaemon()
    with live:
        live.load_busybox()
        yield live
    assert live.leaks() == []


def armed(daemon: LiveDaemon, point: str, before: tuple[tuple[str, ...], ...]) -> None:
    for words in before:
        daemon.docker(*words)
    daemon.stop()
    daemon.start(fail_at=f"{point}:1")


def state(daemon: LiveDaemon, name: str = "web") -> str:
    found = daemon.docker("inspect", name, check=False)
    if found.returncode:
        return GONE
    told = json.loads(found.stdout)[0]["State"]
    return f"exited {told['ExitCode']}" if told["Status"] == "exited" else str(told["Status"])


def findings(daemon: LiveDaemon) -> list[dict[str, Any]]:
    finished = daemon.tiffin("system", "check", "--format", "json", check=False)
    return json.loads(finished.stdout)["Findings"]  # type: ignore[no-any-return]


def nothing_is_left(daemon: LiveDaemon) -> None:
    """The next case has the same name again."""
    assert findings(daemon) == []
    daemon.docker("rm", "-f", "-v", "web", check=False)
    assert daemon.docker("ps", "-aq").stdout == ""
    assert daemon.docker("volume", "ls", "-q").stdout == ""
    assert os.listdir(f"{daemon.data_root}/containers") == []
    assert [name for name in os.listdir(daemon.run_root) if len(name) == 64] == []
    for pid in shims(daemon):  # one that was let go of may be on its way out
        assert ends(pid), pid


def ends(pid: int) -> bool:
    try:
        ended = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    with os.fdopen(ended) as file:
        return bool(select.select([file], [], [], patient(60))[0])


def shims(daemon: LiveDaemon) -> list[int]:
    """Those with a container: the zygote's spare has written no complaint into our run root."""
    found = []
    for pid in daemon.processes():
        try:
            words = os.readlink(f"/proc/{pid}/fd/2")
        except OSError:
            continue
        if name_of(pid) == SHIM_NAME and words.startswith(daemon.run_root):
            found.append(pid)
    return found


@pytest.mark.parametrize("case", DAEMON_DIES, ids=names)
def test_a_daemon_killed_at_a_step_leaves_the_truth(daemon: LiveDaemon, case: Case) -> None:
    armed(daemon, case.point, case.before)
    daemon.docker(*case.verb, check=False)
    assert daemon.ended() == 137
    daemon.start()
    assert state(daemon) in case.after
    nothing_is_left(daemon)


def test_a_program_that_ended_before_its_start_was_written_down_has_its_exit_code(
    daemon: LiveDaemon,
) -> None:
    end = ("create", "--name", "web", "-p", "0:80", "busybox", "sh", "-c", "exit 7")
    armed(daemon, "start-executed", (end,))
    daemon.docker("start", "web", check=False)
    assert daemon.ended() == 137
    for pid in shims(daemon):
        assert ends(pid), pid
    daemon.start()
    assert state(daemon) == "exited 7"
    daemon.docker("start", "web")
    assert daemon.docker("wait", "web").stdout == "7\n"
    nothing_is_left(daemon)


@pytest.mark.parametrize("case", SHIM_DIES, ids=names)
def test_a_shim_killed_at_a_step_leaves_the_truth(daemon: LiveDaemon, case: Case) -> None:
    before = [words for words in case.before if words is not RUN]
    armed(daemon, case.point, tuple(before))
    if RUN in case.before:  # by a shim that is armed
        daemon.docker(*RUN)
    daemon.docker(*case.verb, check=False)
    assert state(daemon) in case.after
    assert findings(daemon) == []
    daemon.stop()
    daemon.start()
    assert state(daemon) in case.after
    daemon.docker("start", "web")
    nothing_is_left(daemon)


def test_shims_and_zygotes_may_be_killed_at_any_time(daemon: LiveDaemon) -> None:
    """Whoever loses a shim is told; all others go on; nothing is left."""
    random_source = random.Random(7)
    stop = threading.Event()
    loops = [threading.Thread(target=_run_until, args=(daemon, stop)) for _ in range(3)]
    for loop in loops:
        loop.start()
    try:
        for _ in range(25):
            victims = shims(daemon) + zygotes(daemon)
            daemon.docker("run", "--rm", "busybox", "true", check=False)
            for pid in random_source.sample(victims, min(1, len(victims))):
                _kill(pid)
    finally:
        stop.set()
        for loop in loops:
            loop.join(patient(60))
    assert daemon.docker("run", "--rm", "busybox", "echo", "well").stdout == "well\n"
    assert findings(daemon) == []
    assert daemon.docker("ps", "-aq").stdout == ""
    nothing_is_left(daemon)


def _run_until(daemon: LiveDaemon, stop: threading.Event) -> None:
    while not stop.is_set():
        subprocess.run(
            daemon.argv("docker", "run", "--rm", "busybox", "true"),
            env=daemon.environment(),
            capture_output=True,
            check=False,
            timeout=patient(60),
        )


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
