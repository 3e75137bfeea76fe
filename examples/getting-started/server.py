"""A to-do list: a page, three JSON calls, and one data file. Standard library only."""

import json
import os
import signal
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

EMPTY_TEXT = "No items yet! Add one above!"
PAGE = Path(__file__).with_name("static") / "index.html"
DATA = Path(os.environ.get("TODO_DATA", "/data/todos.json"))
changing = threading.Lock()


def read_items():
    return json.loads(DATA.read_text()) if DATA.exists() else []


def write_items(items):
    DATA.parent.mkdir(parents=True, exist_ok=True)
    fresh = DATA.with_suffix(".new")
    fresh.write_text(json.dumps(items, indent=1))
    fresh.replace(DATA)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/items":
            self.answer(read_items())
        elif self.path == "/":
            page = PAGE.read_text().replace("{{empty}}", EMPTY_TEXT)
            self.answer(page.encode(), kind="text/html; charset=utf-8")
        else:
            self.answer({"error": "not found"}, HTTPStatus.NOT_FOUND)

    def do_POST(self):
        size = int(self.headers.get("Content-Length", 0))
        try:
            name = str(json.loads(self.rfile.read(size))["name"])
        except (ValueError, KeyError, TypeError):
            self.answer({"error": 'a body like {"name": "buy milk"}'}, HTTPStatus.BAD_REQUEST)
            return
        with changing:
            items = read_items()
            items.append({"id": max((item["id"] for item in items), default=0) + 1, "name": name})
            write_items(items)
        self.answer(items[-1], HTTPStatus.CREATED)

    def do_DELETE(self):
        wanted = self.path.removeprefix("/items/")
        with changing:
            items = read_items()
            left = [item for item in items if str(item["id"]) != wanted]
            write_items(left)
        self.answer(left)

    def answer(self, body, status=HTTPStatus.OK, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("", 3000), Handler)
    print("Listening on port 3000", flush=True)
    server.serve_forever()
