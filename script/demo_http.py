"""A few lines of HTTP for the demo, so that it needs no curl.

demo_http.py [-d BODY] URL   prints the answer's body; waits for the server to listen, at most 10 s
demo_http.py --free-port     prints a port of 127.0.0.1 that is free
"""

from __future__ import annotations

import socket
import sys
import time
import urllib.error
import urllib.request

PATIENCE_SECONDS = 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str, body: str | None) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            data = None if body is None else body.encode()
            with opener.open(url, data, timeout=PATIENCE_SECONDS) as answer:
                return str(answer.read().decode())
        except (ConnectionError, urllib.error.URLError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # the server starts; there is no event to wait for across its boundary


def main(argv: list[str]) -> int:
    if argv == ["--free-port"]:
        print(free_port())
        return 0
    body = argv.pop(1) if argv[:1] == ["-d"] else None
    if body is not None:
        argv.pop(0)
    print(fetch(argv[0], body))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
