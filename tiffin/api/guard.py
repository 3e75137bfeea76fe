"""What a TCP door asks of a request besides: that no browser was talked into sending it.

A page can make a browser connect to loopback, by a name of its own that it lets point there (DNS
rebinding). Its Host header still says that name, and its Origin the page's. So in clear text only
names that can mean nothing but this machine are let in; and an Origin must be the host itself.
"""

from __future__ import annotations

import ipaddress

from tiffin.api.connection import Application
from tiffin.api.messages import Answer, Request, error_response


class Guard:
    """An application behind a TCP door. `any_name`: the client proved itself by a certificate."""

    def __init__(self, application: Application, *, any_name: bool) -> None:
        self._application = application
        self._any_name = any_name

    def identity(self, request: Request) -> list[tuple[str, str]]:
        return self._application.identity(request)

    def outlives_client(self, request: Request) -> bool:
        return self._application.outlives_client(request)

    def outlives_input(self, request: Request) -> bool:
        return self._application.outlives_input(request)

    async def answer(self, request: Request) -> Answer:
        host, origin = request.header("host"), request.header("origin")
        if not self._any_name and not names_this_machine(host):
            return error_response(403, f"host {host!r} is not this machine's loopback")
        if origin and origin.partition("://")[2] != host:
            return error_response(403, f"origin {origin!r} may not use the API")
        return await self._application.answer(request)


def names_this_machine(host: str) -> bool:
    """Whether a Host header can mean nothing but loopback, whatever a name server says."""
    name = host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
