"""What all tests share: root tests skip without root, and a skip under root must be allowed.

tests/allowed_skips.txt lists the skips that are accepted where root and the kernel's features are
there: one `node id prefix: reason` a line.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is slow, which is no failure. CI runs the same examples each time.
settings.register_profile(
    "tiffin",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tiffin")

# A shell without a terminal starts what is to run in the background with Ctrl-C ignored, and all
# that this starts would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    for item in items:
        if "root" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs root"))


def _allowed_prefixes() -> list[str]:
    lines = ALLOWED.read_text(encoding="utf-8").splitlines()
    return [line.split(": ")[0] for line in lines if line.strip() and not line.startswith("#")]


class SkipJudge:
    """Under root a skip is a failure unless the list names it."""

    def __init__(self) -> None:
        self.unexpected: list[str] = []
        self._allowed = _allowed_prefixes()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if (
            report.skipped
            and not hasattr(report, "wasxfail")
            and not self._is_allowed(report.nodeid)
        ):
            self.unexpected.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped and not self._is_allowed(report.nodeid):
            self.unexpected.append(report.nodeid)

    def _is_allowed(self, node: str) -> bool:
        return any(node.startswith(prefix) for prefix in self._allowed)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.unexpected and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for node in self.unexpected:
            terminalreporter.write_line(f"skipped, and not in allowed_skips.txt: {node}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get("TIFFIN_STRICT_SKIPS") == "1":
        config.pluginmanager.register(SkipJudge())


@pytest.fixture
def short_tmp() -> Iterator[str]:
    """A directory with a path short enough for unix sockets below it; gone afterwards."""
    path = tempfile.mkdtemp(prefix="tfn")
    yield path
    shutil.rmtree(path, ignore_errors=True)
