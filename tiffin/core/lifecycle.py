"""The life of a container as one table, and the two decisions taken without a user.

`transition` says what a verb does in a state, in Docker's words where it is refused.
`restarts` is the restart policy; `reconcile` is what a starting daemon makes of what it finds.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from tiffin.core.container import Container, RestartPolicy, State, Status
from tiffin.core.health import UNHEALTHY, at_end
from tiffin.core.verdict import Verdict, of_exit, of_failed_start, of_lost_shim
from tiffin.core.workload import Created, Exit
from tiffin.errors import Conflict, InvalidArgument, NotModified


class Action(StrEnum):
    START = "start"
    STOP = "stop"
    KILL = "kill"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    EXEC = "exec"
    ATTACH = "attach"
    REMOVE = "remove"


LIVE = frozenset({Status.RUNNING, Status.PAUSED})

TRANSITIONS: dict[tuple[Status, Action], Status] = {
    (Status.CREATED, Action.START): Status.RUNNING,
    (Status.EXITED, Action.START): Status.RUNNING,
    (Status.RESTARTING, Action.START): Status.RUNNING,
    (Status.RUNNING, Action.STOP): Status.EXITED,
    (Status.PAUSED, Action.STOP): Status.EXITED,
    (Status.RESTARTING, Action.STOP): Status.EXITED,
    (Status.RUNNING, Action.KILL): Status.RUNNING,
    (Status.PAUSED, Action.KILL): Status.PAUSED,
    (Status.RESTARTING, Action.KILL): Status.EXITED,
    (Status.RUNNING, Action.PAUSE): Status.PAUSED,
    (Status.PAUSED, Action.UNPAUSE): Status.RUNNING,
    (Status.RUNNING, Action.EXEC): Status.RUNNING,
    (Status.CREATED, Action.ATTACH): Status.CREATED,
    (Status.EXITED, Action.ATTACH): Status.EXITED,
    (Status.RUNNING, Action.ATTACH): Status.RUNNING,
    (Status.CREATED, Action.REMOVE): Status.REMOVING,
    (Status.EXITED, Action.REMOVE): Status.REMOVING,
    (Status.DEAD, Action.REMOVE): Status.REMOVING,
    (Status.REMOVING, Action.REMOVE): Status.REMOVING,
}


def transition(container: Container, action: Action) -> Status:
    """The status after `action`. Raises NotModified or Conflict in Docker's words."""
    status = container.state.status
    after = TRANSITIONS.get((status, action))
    if after is None:
        raise _refusal(container, action)
    return after


def check_live(container: Container) -> None:
    """Raises Conflict in Docker's words for a container that has no processes now."""
    if container.state.status is Status.RESTARTING:
        raise Conflict(_restarting(container.id))
    if container.state.status not in LIVE:
        raise Conflict(f"container {container.id} is not running")


def _restarting(container_id: str) -> str:
    return f"Container {container_id} is restarting, wait until the container is running"


def _refusal(container: Container, action: Action) -> NotModified | Conflict:
    status = container.state.status
    if action is Action.START and status is Status.RUNNING:
        return NotModified("container already started")
    if action is Action.STOP and status in (Status.CREATED, Status.EXITED, Status.DEAD):
        return NotModified("container already stopped")
    return Conflict(_refusal_words(container, action))


def _refusal_words(container: Container, action: Action) -> str:
    status, cid = container.state.status, container.id
    if status is Status.RESTARTING and action in (Action.EXEC, Action.ATTACH, Action.PAUSE):
        return _restarting(cid)
    words: dict[tuple[Action, Status | None], str] = {
        (Action.START, Status.PAUSED): "cannot start a paused container, try unpause instead",
        (Action.START, None): "container is marked for removal and cannot be started",
        (Action.KILL, None): f"container {cid} is not running",
        (Action.PAUSE, Status.PAUSED): f"Container {cid} is already paused",
        (Action.PAUSE, None): f"container {cid} is not running",
        (Action.UNPAUSE, None): f"Container {cid} is not paused",
        (
            Action.EXEC,
            Status.PAUSED,
        ): f"Container {container.name} is paused, unpause the container before exec",
        (Action.EXEC, None): f"container {cid} is not running",
        (
            Action.ATTACH,
            Status.PAUSED,
        ): f"container {cid} is paused, unpause the container before attach",
        (Action.REMOVE, Status.PAUSED): "container is paused and must be unpaused first",
        (Action.REMOVE, None): (
            f"container is {status}: stop the container before removing or force remove"
        ),
    }
    fallback = f"Container {cid} is {status}: cannot {action}"
    return words.get((action, status)) or words.get((action, None)) or fallback


_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


def check_name(name: str) -> str:
    """The name without its slash. Raises InvalidArgument in Docker's words."""
    bare = name.removeprefix("/")
    if not _NAME.fullmatch(bare):
        raise InvalidArgument(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return bare


def started(state: State, created: Created, now_ns: int, boot_id: str) -> State:
    return msgspec.structs.replace(
        state,
        status=Status.RUNNING,
        pid=created.pid,
        start_ticks=created.start_ticks,
        boot_id=boot_id,
        exit_code=0,
        error="",
        oom_killed=False,
        started_ns=now_ns,
        stopped_by_user=False,
        restart_cancelled=False,
        asked=None,
        verdict=None,
    )


def ended(
    state: State,
    exit_code: int,
    finished_ns: int,
    *,
    oom_killed: bool = False,
    verdict: Verdict | None = None,
    reason: str = "",
) -> State:
    """The state after the process is gone: its id range, addresses and ports are given back."""
    return msgspec.structs.replace(
        state,
        status=Status.EXITED,
        pid=0,
        start_ticks=0,
        exit_code=exit_code,
        error=reason or state.error,
        oom_killed=oom_killed,
        finished_ns=finished_ns,
        verdict=verdict,
        health=at_end(state.health),
        id_range=None,
        endpoints=tuple(
            msgspec.structs.replace(
                end, endpoint_id="", address="", gateway="", mac_address="", prefix_length=0
            )
            for end in state.endpoints
        ),
        ports=(),
    )


def ended_since(before: State, state: State) -> bool:
    """Whether a run has ended that went on before, or has begun since."""
    went_on = before.status in LIVE or before.started_ns != state.started_ns
    return went_on and state.status not in LIVE


def restarting(state: State) -> State:
    """The state of what has ended, until it is started again."""
    return msgspec.structs.replace(
        state, status=Status.RESTARTING, restart_count=state.restart_count + 1
    )


def after(state: State, seen: Exit) -> State:
    """The state after an end that was seen."""
    verdict = of_exit(
        seen.exit_code, seen.signal, seen.finished_ns, state.asked, oom_killed=seen.oom_killed
    )
    return ended(
        state,
        seen.exit_code,
        seen.finished_ns,
        oom_killed=seen.oom_killed,
        verdict=of_lost_shim() if seen.shim_died else verdict,
        reason="the container's shim was killed" if seen.shim_died else "",
    )


def failed_start(state: State, exit_code: int, error: str) -> State:
    """A container that did not come up is as it was, with the reason."""
    return msgspec.structs.replace(
        ended(state, exit_code, state.finished_ns, verdict=of_failed_start(error)),
        status=Status.EXITED if state.started_ns else Status.CREATED,
        error=error,
    )


RESTART_BACKOFF_FIRST_SECONDS = 0.1
RESTART_BACKOFF_LAST_SECONDS = 60.0
RESTART_RESET_AFTER_SECONDS = 10.0


def restarts(policy: RestartPolicy, state: State) -> bool:
    """Whether a container that just ended is started again (moby: restartmanager)."""
    if state.restart_cancelled:
        return False
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return not state.stopped_by_user
    if policy.name in _COUNTED and (state.exit_code != 0 or ended_unhealthy(state)):
        return _may_retry(policy, state)
    return False


ON_UNHEALTHY = "on-unhealthy"  # beyond Docker: on-failure, and when its health check gives it up
_COUNTED = ("on-failure", ON_UNHEALTHY)


def _may_retry(policy: RestartPolicy, state: State) -> bool:
    limit = policy.maximum_retry_count
    return limit == 0 or state.restart_count < limit


def ended_unhealthy(state: State) -> bool:
    """Whether the engine has ended this run for its health."""
    return state.asked is not None and state.asked.verb == "unhealthy"


def gives_up_unhealthy(policy: RestartPolicy, state: State) -> bool:
    """Whether the engine ends what runs now, to start it again. Not once its retries are spent."""
    return (
        policy.name == ON_UNHEALTHY
        and not state.restart_cancelled  # it would not be started again
        and state.status is Status.RUNNING
        and state.health is not None
        and state.health.status == UNHEALTHY
        and state.health.failing_streak > 0  # else it is only that nobody has probed it
        and _may_retry(policy, state)
    )


def counted_uptime(state: State, uptime_seconds: float) -> float:
    """Seconds of good life of the run that has ended, by which the back-off is measured.

    One that the engine gave up and that never was healthy had none, however long it took to tell.
    """
    if ended_unhealthy(state) and not (state.health and state.health.was_healthy):
        return 0.0
    return uptime_seconds


def restarts_with_daemon(policy: RestartPolicy, state: State) -> bool:
    """Whether a container that does not run when the daemon starts is started by it."""
    if policy.name == "always":
        return state.started_ns > 0
    if policy.name == "unless-stopped":
        return state.started_ns > 0 and not state.stopped_by_user
    return False


def next_backoff(previous_seconds: float, uptime_seconds: float) -> float:
    if previous_seconds <= 0 or uptime_seconds >= RESTART_RESET_AFTER_SECONDS:
        return RESTART_BACKOFF_FIRST_SECONDS
    return min(previous_seconds * 2, RESTART_BACKOFF_LAST_SECONDS)


UNKNOWN_EXIT_CODE = 255  # what Docker records when nobody saw the end


class Recovery(StrEnum):
    """What a starting daemon does with one container."""

    KEEP = "keep"
    RECONNECT = "reconnect"
    MARK_EXITED = "mark exited"
    FINISH_REMOVAL = "finish removal"


def reconcile(container: Container, observed: Created | Exit | None) -> Recovery:
    """From the last known state and what the runtime observes now to what must happen.

    What was between two tries of its restart policy is kept so: the daemon goes on with that.
    """
    status = container.state.status
    was_to_go = status is Status.EXITED and container.host_config.auto_remove
    if status is Status.REMOVING or was_to_go:
        return Recovery.FINISH_REMOVAL
    if status not in LIVE:
        return Recovery.KEEP
    return Recovery.RECONNECT if isinstance(observed, Created) else Recovery.MARK_EXITED
