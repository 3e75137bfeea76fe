"""The life of a container: what each verb does in each state, and restart policies."""

from __future__ import annotations

import msgspec
import pytest

from tiffin.core.container import (
    Container,
    Health,
    HostConfig,
    RestartPolicy,
    State,
    Status,
)
from tiffin.core.image import ContainerConfig
from tiffin.core.lifecycle import (
    TRANSITIONS,
    Action,
    Recovery,
    check_live,
    check_name,
    counted_uptime,
    ended_since,
    failed_start,
    gives_up_unhealthy,
    next_backoff,
    reconcile,
    restarts,
    restarts_with_daemon,
    started,
    transition,
)
from tiffin.core.verdict import Asked, By
from tiffin.core.workload import Created
from tiffin.errors import Conflict, InvalidArgument, NotModified


def a_container(status: Status) -> Container:
    return Container(
        id="ab" * 32,
        name="web",
        created_ns=1,
        image_id="sha256:" + "0" * 64,
        image_reference="busybox",
        platform="linux",
        config=ContainerConfig(),
        host_config=HostConfig(),
        snapshot="1",
        state=State(status=status),
    )


def test_starting_a_running_container_changes_nothing() -> None:
    with pytest.raises(NotModified):
        transition(a_container(Status.RUNNING), Action.START)


@pytest.mark.parametrize("status", [Status.CREATED, Status.EXITED])
def test_what_does_not_run_can_be_started(status: Status) -> None:
    assert transition(a_container(status), Action.START) is Status.RUNNING


@pytest.mark.parametrize("status", [Status.CREATED, Status.EXITED])
def test_stopping_what_does_not_run_changes_nothing(status: Status) -> None:
    with pytest.raises(NotModified):
        transition(a_container(status), Action.STOP)


@pytest.mark.parametrize(
    ("status", "action", "words"),
    [
        (Status.PAUSED, Action.START, "cannot start a paused container, try unpause instead"),
        (Status.EXITED, Action.KILL, "is not running"),
        (Status.PAUSED, Action.PAUSE, "is already paused"),
        (Status.RUNNING, Action.UNPAUSE, "is not paused"),
        (Status.PAUSED, Action.EXEC, "is paused, unpause the container before exec"),
        (Status.EXITED, Action.EXEC, "is not running"),
        (Status.RUNNING, Action.REMOVE, "container is running: stop the container before"),
    ],
)
def test_a_verb_in_the_wrong_state_is_refused_in_dockers_words(
    status: Status, action: Action, words: str
) -> None:
    with pytest.raises(Conflict, match=words):
        transition(a_container(status), action)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("action", list(Action))
def test_every_verb_in_every_state_has_an_answer(status: Status, action: Action) -> None:
    if (status, action) in TRANSITIONS:
        assert transition(a_container(status), action) is TRANSITIONS[status, action]
    else:
        with pytest.raises((Conflict, NotModified), match=r"\w+ \w+"):
            transition(a_container(status), action)


@pytest.mark.parametrize("name", ["web", "/web", "a1", "a_b.c-d"])
def test_names_lose_their_slash(name: str) -> None:
    assert check_name(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "-web", "we b", "web/x", "wäb"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        check_name(name)


def test_what_has_no_processes_now_says_whether_it_will_have_some_again() -> None:
    check_live(a_container(Status.PAUSED))
    with pytest.raises(Conflict, match="is restarting, wait until the container is running"):
        check_live(a_container(Status.RESTARTING))
    with pytest.raises(Conflict, match="is not running"):
        check_live(a_container(Status.EXITED))


def test_on_failure_restarts_until_its_limit() -> None:
    policy = RestartPolicy("on-failure", 2)
    assert restarts(policy, State(exit_code=1, restart_count=1))
    assert not restarts(policy, State(exit_code=1, restart_count=2))
    assert not restarts(policy, State(exit_code=0))


@pytest.mark.parametrize("name", ["always", "unless-stopped"])
def test_a_stop_by_hand_silences_the_policy(name: str) -> None:
    assert restarts(RestartPolicy(name), State(exit_code=0))
    assert not restarts(RestartPolicy(name), State(restart_cancelled=True))


def test_only_unless_stopped_heeds_a_signal_that_does_not_stop() -> None:
    signalled = State(exit_code=1, stopped_by_user=True)
    assert restarts(RestartPolicy("always"), signalled)
    assert restarts(RestartPolicy("on-failure"), signalled)
    assert not restarts(RestartPolicy("unless-stopped"), signalled)


def test_always_starts_with_the_daemon_even_after_a_stop_by_hand() -> None:
    state = State(started_ns=1, stopped_by_user=True)
    assert restarts_with_daemon(RestartPolicy("always"), state)
    assert not restarts_with_daemon(RestartPolicy("unless-stopped"), state)


def test_on_unhealthy_restarts_failures_and_what_the_engine_gave_up() -> None:
    policy = RestartPolicy("on-unhealthy", 2)
    given_up = State(asked=Asked("unhealthy", 15, 1, By.ENGINE), restart_count=1)
    assert restarts(policy, given_up)
    assert restarts(policy, State(exit_code=1))
    assert not restarts(policy, State(exit_code=0))
    assert not restarts(policy, msgspec.structs.replace(given_up, restart_count=2))
    assert not restarts(policy, msgspec.structs.replace(given_up, restart_cancelled=True))


def test_an_unhealthy_container_is_given_up_as_long_as_it_may_be_retried() -> None:
    policy = RestartPolicy("on-unhealthy", 1)
    ill = State(status=Status.RUNNING, health=Health("unhealthy", 3))
    assert gives_up_unhealthy(policy, ill)
    assert not gives_up_unhealthy(policy, msgspec.structs.replace(ill, restart_count=1))
    assert not gives_up_unhealthy(policy, msgspec.structs.replace(ill, health=Health("starting")))
    assert not gives_up_unhealthy(policy, msgspec.structs.replace(ill, status=Status.PAUSED))
    assert not gives_up_unhealthy(RestartPolicy("always"), ill)
    assert not gives_up_unhealthy(policy, msgspec.structs.replace(ill, restart_cancelled=True))
    unpaused = msgspec.structs.replace(ill, health=Health("unhealthy", 0))
    assert not gives_up_unhealthy(policy, unpaused)


def test_a_run_that_never_was_healthy_does_not_reset_the_backoff() -> None:
    given_up = State(
        started_ns=1,
        finished_ns=61_000_000_001,
        asked=Asked("unhealthy", 15, 1, By.ENGINE),
        health=Health("unhealthy"),
    )
    assert counted_uptime(given_up, 61.0) == 0.0
    once_well = msgspec.structs.replace(given_up, health=Health("unhealthy", was_healthy=True))
    assert counted_uptime(once_well, 61.0) == 61.0
    assert counted_uptime(msgspec.structs.replace(given_up, asked=None), 61.0) == 61.0


def test_backoff_doubles_to_a_minute_and_resets_after_ten_seconds_up() -> None:
    delays = [0.0]
    for _ in range(12):
        delays.append(next_backoff(delays[-1], 0.5))
    assert delays[1:4] == [0.1, 0.2, 0.4]
    assert delays[-1] == 60.0
    assert next_backoff(60.0, 10.0) == 0.1


def test_one_that_runs_again_says_when_it_last_ended() -> None:
    again = started(State(finished_ns=5), Created(pid=7, start_ticks=8), 9, "boot")
    assert (again.started_ns, again.finished_ns) == (9, 5)


def test_a_failed_first_start_leaves_the_container_created() -> None:
    assert failed_start(State(), 127, "no such file").status is Status.CREATED
    assert failed_start(State(started_ns=5), 127, "no such file").status is Status.EXITED


@pytest.mark.parametrize(
    ("before", "now", "ended"),
    [
        (State(), State(), False),
        (State(), State(status=Status.RUNNING, started_ns=2), False),
        (State(), State(status=Status.EXITED, started_ns=2), True),
        (State(status=Status.RUNNING, started_ns=2), State(Status.EXITED, started_ns=2), True),
        (State(Status.EXITED, started_ns=2), State(Status.EXITED, started_ns=2), False),
        (State(Status.EXITED, started_ns=2), State(Status.RESTARTING, started_ns=3), True),
    ],
)
def test_a_run_that_has_come_and_gone_is_noticed(before: State, now: State, ended: bool) -> None:
    assert ended_since(before, now) is ended


def test_a_daemon_finds_what_still_runs_and_marks_what_does_not() -> None:
    running = a_container(Status.RUNNING)
    assert reconcile(running, Created(pid=5, start_ticks=6)) is Recovery.RECONNECT
    assert reconcile(running, None) is Recovery.MARK_EXITED
    assert reconcile(a_container(Status.REMOVING), None) is Recovery.FINISH_REMOVAL
    assert reconcile(a_container(Status.EXITED), None) is Recovery.KEEP
    assert reconcile(a_container(Status.RESTARTING), None) is Recovery.KEEP


def test_what_was_to_go_after_its_exit_goes_when_a_daemon_finds_it_ended() -> None:
    ended = a_container(Status.EXITED)
    ended = msgspec.structs.replace(ended, host_config=HostConfig(auto_remove=True))
    assert reconcile(ended, None) is Recovery.FINISH_REMOVAL


def test_a_record_survives_encoding() -> None:
    container = a_container(Status.PAUSED)
    assert msgspec.json.decode(msgspec.json.encode(container), type=Container) == container
