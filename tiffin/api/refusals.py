"""Routes that are refused: swarm and plugins, in Docker's words."""

from __future__ import annotations

from tiffin.api.messages import Answer, Request, json_response
from tiffin.api.router import Route
from tiffin.errors import NotFound, Unavailable, Unsupported

_NO_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" '
    "to connect this node to swarm and try again."
)

# method, pattern: what a swarm manager would answer
_SWARM = (
    ("GET", "/swarm"),
    ("POST", "/swarm/update"),
    ("GET", "/swarm/unlockkey"),
    ("GET", "/nodes"),
    ("GET", "/nodes/{id}"),
    ("DELETE", "/nodes/{id}"),
    ("POST", "/nodes/{id}/update"),
    ("GET", "/services"),
    ("POST", "/services/create"),
    ("GET", "/services/{id}"),
    ("DELETE", "/services/{id}"),
    ("POST", "/services/{id}/update"),
    ("GET", "/services/{id}/logs"),
    ("GET", "/tasks"),
    ("GET", "/tasks/{id}"),
    ("GET", "/tasks/{id}/logs"),
    ("GET", "/secrets"),
    ("POST", "/secrets/create"),
    ("GET", "/secrets/{id}"),
    ("DELETE", "/secrets/{id}"),
    ("POST", "/secrets/{id}/update"),
    ("GET", "/configs"),
    ("POST", "/configs/create"),
    ("GET", "/configs/{id}"),
    ("DELETE", "/configs/{id}"),
    ("POST", "/configs/{id}/update"),
)


def refusals() -> list[Route]:
    return [
        *(Route(method, pattern, no_manager) for method, pattern in _SWARM),
        Route("POST", "/swarm/init", no_swarm),
        Route("POST", "/swarm/join", no_swarm),
        Route("POST", "/swarm/leave", not_in_swarm),
        Route("POST", "/swarm/unlock", not_in_swarm),
        Route("GET", "/plugins", no_plugins),
        Route("GET", "/plugins/privileges", no_plugin_support),
        Route("POST", "/plugins/pull", no_plugin_support),
        Route("POST", "/plugins/create", no_plugin_support),
        Route("GET", "/plugins/{name*}/json", no_such_plugin),
        Route("DELETE", "/plugins/{name*}", no_such_plugin),
        *(
            Route("POST", f"/plugins/{{name*}}/{verb}", no_such_plugin)
            for verb in ("enable", "disable", "upgrade", "push", "set")
        ),
    ]


async def no_manager(request: Request) -> Answer:
    del request
    raise Unavailable(_NO_MANAGER)


async def no_swarm(request: Request) -> Answer:
    del request
    raise Unsupported("swarm mode is not supported by tiffin")


async def not_in_swarm(request: Request) -> Answer:
    del request
    raise Unavailable("This node is not part of a swarm")


async def no_plugins(request: Request) -> Answer:
    del request
    return json_response([])


async def no_plugin_support(request: Request) -> Answer:
    del request
    raise Unsupported("plugins are not supported by tiffin")


async def no_such_plugin(request: Request) -> Answer:
    raise NotFound(f'plugin "{request.parameters["name"]}" not found')
