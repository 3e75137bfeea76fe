"""The health of a container: what to probe, when, and what the results say. PURE (moby: health.go).

A probe that fails while the container starts up does not count; the first that succeeds ends that.
"""

from __future__ import annotations

import msgspec

from tiffin.core.container import Health, Probe
from tiffin.core.image import ContainerConfig, Healthcheck

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"

_SECOND_NS = 1_000_000_000
DEFAULT_INTERVAL_NS = 30 * _SECOND_NS
DEFAULT_TIMEOUT_NS = 30 * _SECOND_NS
DEFAULT_START_INTERVAL_NS = 5 * _SECOND_NS
DEFAULT_RETRIES = 3
KEPT_PROBES = 5
MAX_OUTPUT_BYTES = 4096
_SHELL = ("/bin/sh", "-c")


def probe_command(config: ContainerConfig) -> tuple[str, ...]:
    """What to run inside; () where no health is checked."""
    kind, *words = (config.healthcheck and config.healthcheck.test) or ("NONE",)
    if kind == "CMD":
        return tuple(words)
    if kind == "CMD-SHELL" and words:
        return (*(config.shell or _SHELL), *words)
    return ()


def at_start(config: ContainerConfig, before: Health | None = None) -> Health | None:
    """The health of a container that has just started; None where none is checked.

    What was found `before` this run is still told, as by Docker, and counts for nothing.
    """
    if not probe_command(config):
        return None
    return Health(STARTING, log=before.log if before is not None else ())


def at_end(health: Health | None) -> Health | None:
    """What does not run is not healthy."""
    return health and msgspec.structs.replace(health, status=UNHEALTHY)


def after(health: Health, probe: Probe, check: Healthcheck, started_ns: int) -> Health:
    """The health after one more probe."""
    log = (*health.log, probe)[-KEPT_PROBES:]
    if probe.exit_code == 0:
        return Health(HEALTHY, 0, log, was_healthy=True)
    young = probe.start_ns - started_ns < check.start_period
    if health.status == STARTING and young:
        return msgspec.structs.replace(health, log=log)
    streak = health.failing_streak + 1
    ill = streak >= (check.retries or DEFAULT_RETRIES)
    return Health(UNHEALTHY if ill else health.status, streak, log, health.was_healthy)


def pause_ns(health: Health, check: Healthcheck, started_ns: int, now_ns: int) -> int:
    """How long to wait for the next probe."""
    if health.status == STARTING and now_ns - started_ns < check.start_period:
        return check.start_interval or DEFAULT_START_INTERVAL_NS
    return check.interval or DEFAULT_INTERVAL_NS


def timeout_ns(check: Healthcheck) -> int:
    return check.timeout or DEFAULT_TIMEOUT_NS


def merge_healthcheck(base: Healthcheck | None, user: Healthcheck | None) -> Healthcheck | None:
    """The image's, each part of it replaced by what the user gives."""
    if base is None or user is None:
        return user or base
    given = {name: value for name, value in msgspec.structs.asdict(user).items() if value}
    return msgspec.structs.replace(base, **given)
