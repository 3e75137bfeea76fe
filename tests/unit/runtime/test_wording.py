"""What a shim reports becomes the client's fault or the machine's."""

from __future__ import annotations

import errno

import pytest

from tiffin.runtime.wording import cannot_limit, cannot_start


@pytest.mark.parametrize(
    ("operation", "number", "status"),
    [
        ("find user", 0, 400),
        ("set sysctl net.core.somaxconn", errno.EINVAL, 400),
        ("mount /host on /etc/passwd", errno.ENOTDIR, 400),
        ("mount tmpfs on /t", errno.EINVAL, 400),
        ("set sysctl net.no.such", errno.ENOENT, 400),
        ("error setting cgroup config for procHooks process", errno.EINVAL, 400),
        ("error setting cgroup config for procHooks process", errno.ENODEV, 400),
        ("error setting cgroup config for procHooks process", errno.ENOENT, 500),
        ("mount overlay of /data/1/fs", errno.ENOENT, 500),
        ("mount /host on /x", errno.EIO, 500),
        ("load seccomp filter", errno.EINVAL, 500),
    ],
)
def test_a_request_that_no_machine_could_carry_out_is_a_400(
    operation: str, number: int, status: int
) -> None:
    report = {"message": "it failed", "operation": operation, "errno": number}
    assert cannot_start(report).status == status


@pytest.mark.parametrize(
    ("number", "status"),
    [(errno.EINVAL, 400), (errno.ERANGE, 400), (errno.EBUSY, 409), (errno.EIO, 500)],
)
def test_a_limit_that_does_not_fit_is_not_the_machines_fault(number: int, status: int) -> None:
    assert cannot_limit(OSError(number, "no", "/sys/fs/cgroup/x")).status == status
