"""Log drivers' options: what Docker refuses is refused in its words, the rest is obeyed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiffin.core.container import LogConfig
from tiffin.core.logdriver import (
    Address,
    FileSettings,
    TLSFiles,
    blocks,
    check,
    file_settings,
    max_buffer_bytes,
    parse_size,
    syslog_address,
    syslog_facility,
    syslog_tls,
)
from tiffin.errors import InvalidArgument

MB = 1 << 20


@pytest.mark.parametrize(
    ("driver", "options", "words"),
    [
        ("fluent", {}, "logger: no log driver named 'fluent' is registered"),
        ("json-file", {"colour": "x"}, "unknown log opt 'colour' for json-file log driver"),
        ("", {"colour": "x"}, "unknown log opt 'colour' for json-file log driver"),
        ("local", {"colour": "x"}, "unknown log opt 'colour' for log driver local"),
        ("syslog", {"max-size": "1m"}, "unknown log opt 'max-size' for syslog log driver"),
        ("journald", {"max-size": "1m"}, "unknown log opt 'max-size' for journald log driver"),
        ("json-file", {"max-size": "x"}, "invalid size: 'x'"),
        ("json-file", {"max-size": "0"}, "max-size must be a positive number"),
        ("json-file", {"max-file": "0"}, "max-file cannot be less than 1"),
        ("json-file", {"max-file": "a"}, 'strconv.Atoi: parsing "a": invalid syntax'),
        ("local", {"compress": "maybe"}, 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        (
            "json-file",
            {"compress": "true", "max-file": "1"},
            "compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("json-file", {"mode": "fast"}, "logger: logging mode not supported: fast"),
        (
            "json-file",
            {"max-buffer-size": "1m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            {"mode": "non-blocking", "max-buffer-size": "x"},
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        ("syslog", {"syslog-facility": "plumbing"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "xml"}, "Invalid syslog format"),
        (
            "syslog",
            {"syslog-address": "localhost"},
            "syslog-address should be in form proto://address, got localhost",
        ),
        ("json-file", {"env-regex": "("}, "log opt env-regex: error parsing regexp"),
    ],
)
def test_what_docker_refuses(driver: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check(LogConfig(driver, options))
    assert refused.value.message.startswith(words)


@given(st.text(max_size=9), st.dictionaries(st.text(max_size=12), st.text(max_size=12)))
def test_no_driver_and_no_option_is_more_than_refused(driver: str, options: dict[str, str]) -> None:
    with suppress(InvalidArgument):
        check(LogConfig(driver, options))


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (LogConfig(), FileSettings("json-file", 10 * MB, 3, compress=False)),
        (LogConfig("local"), FileSettings("local", 20 * MB, 5, compress=True)),
        (
            LogConfig("json-file", {"max-size": "1k", "max-file": "9", "compress": "1"}),
            FileSettings("json-file", 1000, 9, compress=True),
        ),
        (
            LogConfig("json-file", {"max-size": "-1"}),
            FileSettings("json-file", -1, 3, compress=False),
        ),
        (LogConfig("local", {"max-file": "1"}), FileSettings("local", 20 * MB, 1, compress=False)),
        (
            LogConfig("syslog", {"cache-max-size": "2m", "cache-compress": "false"}),
            FileSettings("local", 2_000_000, 5, compress=False),
        ),
        (LogConfig("journald", {"cache-disabled": "true"}), None),
        (LogConfig("none", {"anything": "goes"}), None),
    ],
)
def test_how_a_log_is_kept(config: LogConfig, settings: FileSettings | None) -> None:
    check(config)
    assert file_settings(config) == settings


@pytest.mark.parametrize(
    ("text", "count"),
    [("10", 10), ("1k", 1024), ("1.5kb", 1536), ("2MiB", 2 * MB), ("1g", 1 << 30)],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_size(text) == count


def test_addresses_and_facilities_of_syslog() -> None:
    assert syslog_address({}) == Address("unix", "")
    assert syslog_address({"syslog-address": "unix:///dev/log"}) == Address("unix", "/dev/log")
    assert syslog_address({"syslog-address": "udp://[::1]"}) == Address("udp", "::1", 514)
    assert syslog_address({"syslog-address": "tcp://a:5"}) == Address("tcp", "a", 5)
    assert syslog_address({"syslog-address": "tcp+tls://a"}) == Address("tcp+tls", "a", 514)
    assert syslog_facility({}) == 3
    assert syslog_facility({"syslog-facility": "local7"}) == 23
    assert syslog_facility({"syslog-facility": "10"}) == 10


def test_who_waits_for_a_slow_driver() -> None:
    assert blocks(LogConfig("syslog"))
    config = LogConfig("syslog", {"mode": "non-blocking", "max-buffer-size": "3m"})
    assert not blocks(config)
    assert max_buffer_bytes(config) == 3 * MB


def test_files_for_tls_to_a_syslog_server() -> None:
    options = {"syslog-tls-ca-cert": "/ca", "syslog-tls-skip-verify": "false"}
    check(LogConfig("syslog", {"syslog-address": "tcp+tls://a", **options}))
    assert syslog_tls(options) == TLSFiles("/ca", "", "", verify=False)
    assert syslog_tls({"syslog-tls-cert": "/c", "syslog-tls-key": "/k"}).verify
