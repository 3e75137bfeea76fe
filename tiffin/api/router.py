"""The table of routes, and the one place where a failure becomes a status code.

A route is a method, a pattern ("/containers/{id}/json"; "{name*}" may hold slashes) and a handler.
The table is data: docs/compatibility.md is generated from it. An unknown route or method is 404
"page not found", as Docker says it; a path that is not clean is redirected to the one that is.
OPTIONS of whatever there is or is not is 200 and nothing.
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import re
import secrets
from collections.abc import Iterable
from functools import cache
from urllib.parse import quote, unquote

import msgspec

from tiffin import __version__
from tiffin.api.messages import Answer, Handler, Request, Response, error_response
from tiffin.api.versions import NEWEST, parse_version
from tiffin.engine import exhaustion
from tiffin.errors import EngineFailure, InvalidArgument, TiffinError

log = logging.getLogger(__name__)

_VERSION_PREFIX = re.compile(r"/v([0-9.]{1,16})(/.*)", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{(\w+)(\*?)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Route(msgspec.Struct, frozen=True):
    """`since`: the API version that brought it. `dies_with_client`: who leaves cancels it.
    `has_an_end`: who only has no more to say is answered to the end all the same.

    `limits` says what of Docker's answer is not there (docs/compatibility.md).
    """

    method: str
    pattern: str
    handler: Handler
    since: str = ""
    dies_with_client: bool = False
    has_an_end: bool = False
    limits: str = ""


@cache
def _matcher(pattern: str) -> re.Pattern[str]:
    """Made when a request first comes near it: all of them at once take longer than the rest."""
    parts, position = [], 0
    for found in _PLACEHOLDER.finditer(pattern):
        parts.append(re.escape(pattern[position : found.start()]))
        parts.append(f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})")
        position = found.end()
    parts.append(re.escape(pattern[position:]))
    return re.compile("".join(parts), re.DOTALL)


class Router:
    """Finds the handler of a request and turns what it raises into an answer."""

    def __init__(self, routes: Iterable[Route], *, debug: bool = False) -> None:
        self.routes = tuple(routes)
        self._debug = debug
        self._table: dict[tuple[str, str], list[Route]] = {}
        for route in self.routes:
            key = (route.method, _first_segment(route.pattern))
            self._table.setdefault(key, []).append(route)

    def identity(self, request: Request) -> list[tuple[str, str]]:
        del request
        return IDENTITY

    def outlives_client(self, request: Request) -> bool:
        found = self._find(request.method, _split_version(unquote(request.path))[1])
        return found is None or not found[0].dies_with_client

    def outlives_input(self, request: Request) -> bool:
        found = self._find(request.method, _split_version(unquote(request.path))[1])
        return found is None or found[0].has_an_end

    async def answer(self, request: Request) -> Answer:
        request.id = secrets.token_hex(4)
        try:
            return await self._dispatch(request)
        except asyncio.CancelledError:
            log.debug("request=%s %s %s cancelled", request.id, request.method, request.path)
            raise
        except TiffinError as error:
            return self._refusal(request, error)
        except Exception as error:  # the boundary: our bug is the client's 500
            lacking = exhaustion.words(error)
            if lacking:
                words = f"cannot {request.method} {request.path}: {lacking}"
                return self._refusal(request, EngineFailure(words))
            log.exception("request=%s %s %s", request.id, request.method, request.path)
            return error_response(500, f"internal error ({request.id}): {type(error).__name__}")

    async def _dispatch(self, request: Request) -> Answer:
        path = _decoded(request.path)
        clean = _clean(path)
        if clean != path:
            return _moved(request, clean)
        if request.method == "OPTIONS":
            return Response(200)
        version, rest = _split_version(path)
        found = self._find(request.method, rest)
        if found is None:
            return error_response(404, "page not found")
        route, request.parameters = found
        if _CONTROL.search(path):
            raise InvalidArgument("invalid character in the path")
        request.version = parse_version(version) if version else NEWEST
        if route.since and request.version.before(route.since):
            raise InvalidArgument(
                f'"{route.method} {route.pattern}" requires API version {route.since}, '
                f"but the client's version is {request.version}"
            )
        log.debug("request=%s %s %s", request.id, request.method, rest)
        return await route.handler(request)

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        for route in self._table.get((method, _first_segment(path)), ()):
            match = _matcher(route.pattern).fullmatch(path)
            if match is not None:
                return route, match.groupdict()
        return None

    def _refusal(self, request: Request, error: TiffinError) -> Response:
        level = logging.ERROR if error.status == 500 else logging.INFO
        log.log(
            level,
            "request=%s %s %s status=%d: %s",
            request.id,
            request.method,
            request.path,
            error.status,
            error.message,
            exc_info=error if self._debug and error.status == 500 else None,
        )
        return error_response(error.status, error.message)


IDENTITY = [
    ("Api-Version", str(NEWEST)),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", f"Tiffin/{__version__} (linux)"),
]


def _first_segment(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else ""


def _decoded(path: str) -> str:
    try:
        return unquote(path, errors="strict") if "%" in path else path
    except UnicodeDecodeError as error:
        raise InvalidArgument("invalid path: not UTF-8") from error


def _split_version(path: str) -> tuple[str, str]:
    match = _VERSION_PREFIX.fullmatch(path)
    return (match[1], match[2]) if match else ("", path)


def _clean(path: str) -> str:
    """As Go's path.Clean for an absolute path, keeping a trailing slash."""
    if "//" not in path and "/." not in path:
        return path
    clean = posixpath.normpath("/" + path.lstrip("/"))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _moved(request: Request, clean: str) -> Response:
    query = f"?{request.query.text}" if request.query.text else ""
    return Response(301, headers={"Location": quote(clean) + query})
