"""Why a container ended: every way of ending has its own words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core.verdict import Asked, By, Cause, of_exit

SECOND = 1_000_000_000
STOP = Asked("stop", 15, 5 * SECOND)


@pytest.mark.parametrize(
    ("exit_code", "signal", "asked", "oom", "cause", "by", "text"),
    [
        (0, 0, None, False, Cause.EXIT, By.PROGRAM, "exited by itself with code 0"),
        (3, 0, None, False, Cause.EXIT, By.PROGRAM, "exited by itself with code 3"),
        (139, 11, None, False, Cause.SIGNAL, By.PROGRAM, "crashed (SIGSEGV)"),
        (
            137,
            9,
            None,
            False,
            Cause.SIGNAL,
            By.UNKNOWN,
            "SIGKILL that the engine did not send",
        ),
        (137, 9, None, True, Cause.OOM, By.KERNEL, "out of memory"),
        (137, 0, None, True, Cause.OOM, By.KERNEL, "out of memory"),
        (
            1,
            0,
            None,
            True,
            Cause.EXIT,
            By.PROGRAM,
            "exited by itself with code 1; the kernel killed a process of it for lack of memory",
        ),
        (143, 15, STOP, False, Cause.SIGNAL, By.USER, "stopped by the user (SIGTERM)"),
        (143, 0, STOP, False, Cause.SIGNAL, By.USER, "stopped by the user (SIGTERM)"),
        (0, 0, STOP, False, Cause.EXIT, By.USER, "stopped by the user (exit code 0)"),
        (
            137,
            9,
            Asked("stop", 15, 5 * SECOND, late=True),
            False,
            Cause.TIMEOUT,
            By.USER,
            "killed 10s after SIGTERM to be stopped by the user",
        ),
        (
            137,
            9,
            Asked("kill", 9, 1),
            True,
            Cause.SIGNAL,
            By.USER,
            "killed by the user (SIGKILL)",
        ),
        (
            0,
            0,
            Asked("kill", 1, 13 * SECOND),
            False,
            Cause.EXIT,
            By.PROGRAM,
            "exited by itself with code 0, 2.0s after SIGHUP from the user",
        ),
        (
            137,
            9,
            Asked("removal", 9, 1),
            False,
            Cause.SIGNAL,
            By.USER,
            "killed for its removal by the user (SIGKILL)",
        ),
        (
            143,
            15,
            Asked("unhealthy", 15, 1, By.ENGINE),
            False,
            Cause.SIGNAL,
            By.ENGINE,
            "stopped for being unhealthy by the engine (SIGTERM)",
        ),
    ],
)
def test_each_way_to_end_has_a_verdict(
    exit_code: int,
    signal: int,
    asked: Asked | None,
    oom: bool,
    cause: Cause,
    by: By,
    text: str,
) -> None:
    found = of_exit(exit_code, signal, 15 * SECOND, asked, oom_killed=oom)
    assert (found.cause, found.by, found.text) == (cause, by, text)


askings = st.builds(
    Asked,
    st.sampled_from(["stop", "restart", "removal", "unhealthy", "kill"]),
    st.integers(1, 64),
    st.integers(0, 2**62),
    st.sampled_from(list(By)),
    late=st.booleans(),
)


@given(
    st.integers(0, 255),
    st.integers(0, 64),
    st.integers(0, 2**62),
    st.none() | askings,
    st.booleans(),
)
def test_every_end_whatsoever_has_words_and_a_signal_only_where_one_ended_it(
    code: int, signal: int, at: int, asked: Asked | None, oom: bool
) -> None:
    found = of_exit(code, signal, at, asked, oom_killed=oom)
    assert found.text
    if found.cause in (Cause.SIGNAL, Cause.TIMEOUT, Cause.OOM):
        assert found.signal
    if asked is None:
        assert found.by in (By.PROGRAM, By.KERNEL, By.UNKNOWN)
