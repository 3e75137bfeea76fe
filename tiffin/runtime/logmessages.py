"""How a line of a container's output becomes a message to a syslog daemon or to the journal."""

from __future__ import annotations

import os
import time

from tiffin.runtime.logs import format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # A line, its stream, its time in nanoseconds, whether it ends here: b"" is nothing to tell.
    Render = Callable[[bytes, str, int, bool], bytes]

_ERROR, _INFO = 3, 6  # severities of stderr and stdout
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def renderer(target: dict[str, Any]) -> Render:
    if target["kind"] == "journald":
        return _Journal(target["fields"]).entry
    facility, tag = target["facility"], target["tag"].encode("utf-8", "replace")
    head = _HEADS[target["format"]]
    # As RFC 5425 frames messages, which Docker heeds by TLS alone.
    counted = target["network"] == "tcp+tls" and target["format"].startswith("rfc5424")

    def render(line: bytes, stream: str, time_ns: int, _whole: bool) -> bytes:
        if not line:
            return b""  # as Docker
        priority = facility << 3 | _severity(stream)
        message = b"<%d>%b%b\n" % (priority, head(time_ns, tag), line)
        return b"%d %b" % (len(message), message) if counted else message

    return render


def _severity(stream: str) -> int:
    return _ERROR if stream == "stderr" else _INFO


def _unix_head(time_ns: int, tag: bytes) -> bytes:
    return b"%b %b[%d]: " % (_stamp(time_ns), tag, os.getpid())


def _rfc3164_head(time_ns: int, tag: bytes) -> bytes:
    return b"%b %b %b[%d]: " % (_stamp(time_ns), _hostname(), tag, os.getpid())


def _rfc5424_head(time_ns: int, tag: bytes) -> bytes:
    return _rfc5424(_iso(time_ns) + b"Z", tag)


def _rfc5424micro_head(time_ns: int, tag: bytes) -> bytes:
    return _rfc5424(b"%b.%06dZ" % (_iso(time_ns), time_ns // 1000 % 1_000_000), tag)


def _rfc5424(stamp: bytes, tag: bytes) -> bytes:
    return b"1 %b %b %b %d %b - " % (stamp, _hostname(), tag, os.getpid(), tag)


_HEADS: dict[str, Callable[[int, bytes], bytes]] = {
    "": _unix_head,
    "rfc3164": _rfc3164_head,
    "rfc5424": _rfc5424_head,
    "rfc5424micro": _rfc5424micro_head,
}


def _stamp(time_ns: int) -> bytes:
    t = time.localtime(time_ns // 1_000_000_000)
    return b"%b %2d %02d:%02d:%02d" % (_MONTHS[t[1] - 1].encode(), *t[2:6])


def _iso(time_ns: int) -> bytes:
    return b"%04d-%02d-%02dT%02d:%02d:%02d" % time.gmtime(time_ns // 1_000_000_000)[:6]


def _hostname() -> bytes:
    return os.uname().nodename.encode()


class _Journal:
    """Entries in the journal's native protocol, with Docker's fields.

    The pieces of a line that is too long, or that never ended, have an id and a number each.
    """

    def __init__(self, fields: list[list[str]]) -> None:
        own = [_field(name.encode(), value.encode()) for name, value in fields]
        self._same = b"".join((*own, _field(b"CONTAINER_LOG_EPOCH", _new_id())))
        self._count = 0
        self._pieces: dict[str, tuple[bytes, int]] = {}  # by stream: id and number of the last one

    def entry(self, line: bytes, stream: str, time_ns: int, whole: bool) -> bytes:
        self._count += 1
        return b"PRIORITY=%d\n%bSYSLOG_TIMESTAMP=%b\nCONTAINER_LOG_ORDINAL=%d\n%b%b" % (
            _severity(stream),
            self._same,
            format_time(time_ns).encode(),
            self._count,
            self._piece(stream, whole=whole),
            _field(b"MESSAGE", line),
        )

    def _piece(self, stream: str, *, whole: bool) -> bytes:
        begun = self._pieces.pop(stream, None)
        if whole and begun is None:
            return b""
        line_id, number = begun or (_new_id(), 0)
        if not whole:
            self._pieces[stream] = line_id, number + 1
        return b"CONTAINER_PARTIAL_ID=%b\nCONTAINER_PARTIAL_ORDINAL=%d\n%b" % (
            line_id,
            number + 1,
            b"CONTAINER_PARTIAL_LAST=true\n"
            if whole
            else b"CONTAINER_PARTIAL_LAST=false\nCONTAINER_PARTIAL_MESSAGE=true\n",
        )


def _new_id() -> bytes:
    return os.urandom(32).hex().encode()


def _field(name: bytes, value: bytes) -> bytes:
    if b"\n" in value:
        return b"%b\n%b%b\n" % (name, len(value).to_bytes(8, "little"), value)
    return b"%b=%b\n" % (name, value)
