"""Routes of the engine as a whole: ping, version, info, events, disk use, registry login."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from tiffin import __version__
from tiffin.api.container_json import DEFAULT_RUNTIME, summary_json
from tiffin.api.decode import decode, read_json
from tiffin.api.diskuse import disk_use_json
from tiffin.api.event_json import event_json, event_matcher
from tiffin.api.messages import JSON, Answer, Request, Response, Stream, json_response
from tiffin.api.router import Route
from tiffin.api.versions import NEWEST, OLDEST
from tiffin.core.container import Status
from tiffin.core.defaults import ContainerDefaults
from tiffin.core.filters import parse_filters
from tiffin.core.logdriver import DRIVERS
from tiffin.core.proxies import masked, of_environment
from tiffin.core.timestamps import rfc3339
from tiffin.errors import InvalidArgument

if TYPE_CHECKING:
    from tiffin.engine.engine import Engine

_PING_HEADERS = {
    # The classic builder: the docker CLI then sends POST /build.
    "Builder-Version": "1",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Swarm": "inactive",
}
_JSON_LINES = "application/jsonl"
_JSON_SEQUENCE = "application/json-seq"
_NDJSON = "application/x-ndjson"


class AuthConfig(msgspec.Struct, frozen=True):
    """Credentials as clients send them; keys are lower case on the wire."""

    username: str = ""
    password: str = ""
    auth: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class SystemRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/_ping", self.ping),
            Route("HEAD", "/_ping", self.ping),
            Route("GET", "/version", self.version),
            Route("GET", "/info", self.info),
            Route("GET", "/events", self.events, dies_with_client=True),
            Route("GET", "/system/df", self.disk_use),
            Route("POST", "/auth", self.auth, dies_with_client=True),
        ]

    async def ping(self, request: Request) -> Answer:
        del request
        return Response(200, b"OK", "text/plain; charset=utf-8", _PING_HEADERS)

    async def version(self, request: Request) -> Answer:
        del request
        return json_response(version_json(self._engine))

    async def info(self, request: Request) -> Answer:
        del request
        return json_response(await info_json(self._engine))

    async def events(self, request: Request) -> Answer:
        now_ns = time.time_ns()
        since, until = (
            request.query.moment(key, now_ns) if request.query.get(key) else None
            for key in ("since", "until")
        )
        if until is not None and (since or 0) > until:
            raise InvalidArgument(
                f"`since` time ({request.query.get('since')}) cannot be after "
                f"`until` time ({request.query.get('until')})"
            )
        filters = parse_filters(request.query.get("filters"))
        matching = self._engine.events.subscribe(
            event_matcher(filters), since_ns=since, until_ns=until
        )
        kind = _event_type(request)

        async def chunks() -> AsyncIterator[bytes]:
            async for event in matching:
                line = msgspec.json.encode(event_json(event, request.version)) + b"\n"
                yield b"\x1e" + line if kind == _JSON_SEQUENCE else line

        return Stream(chunks(), kind)

    async def disk_use(self, request: Request) -> Answer:
        engine = self._engine
        kinds = set(() if request.version.before("1.42") else request.query.all("type"))
        for kind in kinds - {"container", "image", "volume", "build-cache"}:
            raise InvalidArgument(f"unknown object type: {kind}")
        now_ns = time.time_ns()
        containers = [
            summary_json(
                container,
                request.version,
                now_ns,
                image=container.image_reference,
                sizes=await engine.containers.sizes(container),
            )
            for container in (engine.containers.list() if not kinds or "container" in kinds else ())
        ]
        return json_response(
            await disk_use_json(
                engine,
                request.version,
                kinds,
                containers,
                verbose=request.query.boolean("verbose"),
            )
        )

    async def auth(self, request: Request) -> Answer:
        wanted = decode(await read_json(request, "registry.AuthConfig"), AuthConfig)
        token = await self._engine.images.login(
            wanted.serveraddress, wanted.username, wanted.password
        )
        return json_response({"Status": "Login Succeeded", "IdentityToken": token or ""})


def _event_type(request: Request) -> str:
    """Since 1.53 what the client asks for; JSON lines unless it insists."""
    if request.version.before("1.53"):
        return JSON
    accepted = request.header("accept")
    for kind in (_JSON_LINES, _NDJSON, _JSON_SEQUENCE):
        if kind in accepted:
            return kind
    return _JSON_LINES if not accepted or "*/*" in accepted else JSON


def version_json(engine: Engine) -> dict[str, Any]:
    host = engine.host
    built = _python()
    details = {
        "ApiVersion": str(NEWEST),
        "Arch": host.goarch,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": built,
        "KernelVersion": host.kernel_version,
        "MinAPIVersion": str(OLDEST),
        "Os": "linux",
    }
    return {
        "Platform": {"Name": "tiffin"},
        "Components": [{"Name": "Engine", "Version": __version__, "Details": details}],
        "Version": __version__,
        "ApiVersion": str(NEWEST),
        "MinAPIVersion": str(OLDEST),
        "GitCommit": "",
        "GoVersion": built,
        "Os": "linux",
        "Arch": host.goarch,
        "KernelVersion": host.kernel_version,
        "BuildTime": "",
    }


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


async def info_json(engine: Engine) -> dict[str, Any]:
    """Only what is so: fields that Docker has and tiffin has no thing for are empty."""
    host, facts, settings = engine.host, engine.runtime.facts, engine.settings
    statuses = [container.state.status for container in engine.containers.list()]
    limits = facts.controllers
    images = await engine.images.list()
    return {
        "ID": settings.engine_id,
        "Containers": len(statuses),
        "ContainersRunning": sum(one in (Status.RUNNING, Status.RESTARTING) for one in statuses),
        "ContainersPaused": statuses.count(Status.PAUSED),
        "ContainersStopped": sum(
            one in (Status.CREATED, Status.EXITED, Status.DEAD, Status.REMOVING) for one in statuses
        ),
        "Images": len(images),
        "Driver": engine.storage_facts.driver,
        "DriverStatus": engine.storage_facts.status,
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": None,
            "Log": list(DRIVERS),
        },
        "MemoryLimit": "memory" in limits,
        "SwapLimit": "memory" in limits and facts.swap_accounted,
        "CpuCfsPeriod": "cpu" in limits,
        "CpuCfsQuota": "cpu" in limits,
        "CPUShares": "cpu" in limits,
        "CPUSet": "cpuset" in limits,
        "PidsLimit": "pids" in limits,
        "OomKillDisable": "memory" in limits and facts.cgroup_version == 1,
        "IPv4Forwarding": _ipv4_forwarding(),
        "Debug": settings.debug,
        "NFd": _count_descriptors(),
        "NGoroutines": len(asyncio.all_tasks()),
        "SystemTime": rfc3339(time.time_ns()),
        "LoggingDriver": settings.defaults.log_config.type or "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": str(facts.cgroup_version),
        "NEventsListener": engine.events.listener_count,
        "KernelVersion": host.kernel_version,
        "OperatingSystem": host.operating_system,
        "OSVersion": host.os_version,
        "OSType": "linux",
        "Architecture": host.architecture,
        "NCPU": host.cpus,
        "MemTotal": host.memory_bytes,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": _registry_config(settings.insecure_registries, settings.registry_mirrors),
        "GenericResources": None,
        "DockerRootDir": settings.data_root,
        "HttpProxy": masked(of_environment(os.environ, "HTTP_PROXY")),
        "HttpsProxy": masked(of_environment(os.environ, "HTTPS_PROXY")),
        "NoProxy": of_environment(os.environ, "NO_PROXY"),
        "Name": host.hostname,
        "Labels": list(settings.labels),
        "ExperimentalBuild": False,
        "ServerVersion": __version__,
        "Runtimes": _runtimes(engine.runtime.programs),
        "DefaultRuntime": settings.defaults.runtime or DEFAULT_RUNTIME,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": _security_options(facts, settings.defaults),
        "FirewallBackend": {"Driver": "nftables"},
        "Warnings": _warnings(facts) or None,
    }


def _runtimes(programs: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {DEFAULT_RUNTIME: {"path": DEFAULT_RUNTIME}}
    for name, program in sorted(programs.items()):
        words = {"runtimeArgs": list(program.arguments)} if program.arguments else {}
        found[name] = {"path": program.path, **words}
    return found


def _ipv4_forwarding() -> bool:
    try:
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


def _count_descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return 0


def _registry_config(insecure: tuple[str, ...], mirrors: tuple[str, ...]) -> dict[str, Any]:
    hub = {
        "Name": "docker.io",
        "Mirrors": list(mirrors),
        "Secure": "docker.io" not in insecure,
        "Official": True,
    }
    others = {
        name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
        for name in insecure
        if "/" not in name and name != "docker.io"
    }
    networks = [name for name in insecure if "/" in name]
    return {
        "InsecureRegistryCIDRs": [*networks, "127.0.0.0/8"],
        "IndexConfigs": {"docker.io": hub, **others},
        "Mirrors": list(mirrors),
    }


def _security_options(facts: Any, defaults: ContainerDefaults) -> list[str]:
    options = []
    if facts.apparmor:
        options.append("name=apparmor")
    if facts.seccomp:
        profile = "unconfined" if defaults.seccomp == "unconfined" else ""
        profile = profile or ("custom" if defaults.seccomp else "builtin")
        options.append(f"name=seccomp,profile={profile}")
    if facts.labels is not None:
        options.append("name=selinux")
    if facts.user_namespaces:
        options.append("name=userns")
    if facts.cgroup_namespaces:
        options.append("name=cgroupns")
    if defaults.no_new_privileges:
        options.append("name=no-new-privileges")
    return options


def _warnings(facts: Any) -> list[str]:
    """In Docker's words, where it has words for it."""
    limits = facts.controllers
    found = {
        "WARNING: No memory limit support": "memory" not in limits,
        "WARNING: No swap limit support": "memory" in limits and not facts.swap_accounted,
        "WARNING: No cpu cfs quota support": "cpu" not in limits,
        "WARNING: No cpuset support": "cpuset" not in limits,
        "WARNING: No pids limit support": "pids" not in limits,
        "WARNING: IPv4 forwarding is disabled": not _ipv4_forwarding(),
        "WARNING: user namespaces are not available: root in a container is root outside": (
            not facts.user_namespaces
        ),
        f"WARNING: AppArmor's profile for containers is not loaded: {facts.apparmor_refusal}": bool(
            facts.apparmor_refusal
        ),
    }
    return [text for text, applies in found.items() if applies]
