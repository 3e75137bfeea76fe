"""An engine that only remembers, and a way to ask its routes without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec

from tiffin.api.messages import HijackedConnection, Query, Request, Response, Stream
from tiffin.api.router import Router
from tiffin.api.server import routes
from tiffin.core.container import (
    Container,
    Endpoint,
    HostConfig,
    Mount,
    PublishedPort,
    State,
    Status,
    Volume,
)
from tiffin.core.image import ContainerConfig, History, ImageConfig, RootFS
from tiffin.core.loglines import LogBatch
from tiffin.core.timestamps import rfc3339_fixed
from tiffin.engine.events import Events
from tiffin.engine.images import HistoryEntry, Image
from tiffin.engine.networks import Networks
from tiffin.engine.processes import ExecRecord, ExecRequest
from tiffin.engine.settings import Settings
from tiffin.engine.storagefacts import StorageFacts
from tiffin.engine.system import HostInfo
from tiffin.engine.waiting import ExitResult
from tiffin.errors import NotFound
from tiffin.runtime.facts import HostFacts

NOW = 1_700_000_000_000_000_000
IMAGE_ID = "sha256:" + "ab" * 32
RUNNING_ID = "1" * 63 + "a"
EXITED_ID = "2" * 63 + "b"


def running() -> Container:
    return Container(
        id=RUNNING_ID,
        name="web",
        created_ns=NOW,
        image_id=IMAGE_ID,
        image_reference="busybox",
        platform="linux",
        config=ContainerConfig(
            image="busybox",
            hostname="1" * 12,
            cmd=("httpd", "-f", "-h", "/my files"),
            env=("PATH=/bin",),
            exposed_ports={"80/tcp": {}, "53/udp": {}},
            labels={"tier": "front"},
        ),
        host_config=HostConfig(binds=("data:/data",), memory=64 << 20),
        snapshot="1",
        mounts=(
            Mount("volume", "/v/data/_data", "/data", name="data", driver="local", mode="z"),
            Mount("tmpfs", "", "/tmp"),
        ),
        state=State(
            status=Status.RUNNING,
            pid=4711,
            started_ns=NOW,
            endpoints=(
                Endpoint(
                    network_id="n" * 64, network_name="bridge", endpoint_id="e" * 64,
                    address="172.17.0.2", prefix_length=16, gateway="172.17.0.1",
                    mac_address="02:42:ac:11:00:02",
                ),
            ),
            ports=(PublishedPort(80, "tcp", "0.0.0.0", 8080),),
        ),
    )  # fmt: skip


def exited() -> Container:
    return Container(
        id=EXITED_ID,
        name="job",
        created_ns=NOW - 10,
        image_id=IMAGE_ID,
        image_reference="busybox:latest",
        platform="linux",
        config=ContainerConfig(image="busybox:latest", cmd=("false",)),
        host_config=HostConfig(network_mode="none"),
        snapshot="2",
        state=State(status=Status.EXITED, exit_code=1, started_ns=NOW, finished_ns=NOW + 5),
    )


def image() -> Image:
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        created="2024-01-01T00:00:00Z",
        config=ContainerConfig(cmd=("sh",), env=("PATH=/bin",), labels={"made": "here"}),
        rootfs=RootFS(diff_ids=("sha256:" + "cd" * 32,)),
        history=(History(created="2024-01-01T00:00:00Z", created_by="busybox"),),
    )
    return Image(IMAGE_ID, config, msgspec.json.encode(config), ("busybox:latest",), (), 1234, NOW)


class FakeContainers:
    def __init__(self) -> None:
        self.found = [running(), exited()]
        self.created: list[Any] = []
        self.signals: list[str | None] = []
        self.committed: list[str] = []
        self.exit: asyncio.Future[ExitResult] | None = None
        self.files = self.streams = self

    def list(self) -> list[Container]:
        return self.found

    def get(self, reference: str) -> Container:
        for container in self.found:
            if reference in (container.id, container.name, container.short_id):
                return container
        raise NotFound(f"No such container: {reference}")

    async def settled(self, reference: str) -> Container:
        return self.get(reference)

    def given_names(self) -> dict[str, list[str]]:
        return {}

    def shown_links(self, container: Container) -> list[str]:
        return []

    def execs(self, container: Container) -> list[str]:
        return []

    def apparmor_profile(self, container: Container) -> str:
        return ""

    def log_path(self, container: Container) -> str:
        return f"/data/containers/{container.id}/{container.id}-json.log"

    async def sizes(self, container: Container) -> tuple[int, int]:
        return 10, 1244

    async def create(
        self, name: Any, config: Any, host: Any, **_: Any
    ) -> tuple[Container, list[str]]:
        self.created.append((name, config, host))
        return exited(), ["beware"]

    def wait(self, reference: str, condition: str) -> asyncio.Future[ExitResult]:
        self.get(reference)
        self.exit = asyncio.get_running_loop().create_future()
        return self.exit

    async def start(self, reference: str) -> None:
        self.get(reference)

    async def stop(self, reference: str, *, signal: str | None, timeout: int | None) -> None:
        self.get(reference)
        self.signals.append(signal)

    restart = stop

    async def commit(self, reference: str, *, name: str, **_: Any) -> str:
        self.get(reference)
        self.committed.append(name)
        return IMAGE_ID

    async def logs(self, reference: str, options: Any) -> AsyncIterator[Any]:
        async def lines() -> AsyncIterator[Any]:
            times = [rfc3339_fixed(NOW), rfc3339_fixed(NOW + 1)]
            yield LogBatch([1, 2], times, [b"out\n", b"err\n"])

        self.get(reference)
        return lines()


class FakeImages:
    def __init__(self) -> None:
        self.found = [image()]
        self.messages: list[Any] = []

    async def list(self) -> list[Image]:
        return self.found

    async def get(self, reference: str) -> Image:
        if reference in ("busybox", "busybox:latest"):
            return self.found[0]
        for found in self.found:
            if found.id == reference:
                return found
        raise NotFound(f"No such image: {reference}:latest")

    async def history(self, reference: str) -> list[HistoryEntry]:
        return [HistoryEntry(IMAGE_ID, NOW, "busybox", "", 1234, ("busybox:latest",))]

    async def layers_size(self) -> int:
        return 1234

    async def shared_sizes(self, images: Sequence[Image]) -> dict[str, int]:
        return {one.id: 1000 for one in images}

    async def pull(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        for message in self.messages:
            if isinstance(message, BaseException):
                raise message
            yield message


class FakeVolumes:
    def __init__(self) -> None:
        self.found = [
            Volume("data", NOW, "/v/data/_data", {"keep": "yes"}),
            Volume("0" * 64, NOW, "/v/0/_data", anonymous=True),
        ]
        self.pruned: list[str] = []

    async def list(self) -> list[Volume]:
        return self.found

    async def get(self, name: str) -> Volume:
        for volume in self.found:
            if volume.name == name:
                return volume
        raise NotFound(f"get {name}: no such volume")

    def references(self, name: str) -> int:
        return int(name == "data")

    async def create(self, name: str, **options: Any) -> Volume:
        return Volume(name or "1" * 64, NOW, f"/v/{name}/_data", options["labels"])

    async def prune(self, matches: Callable[[Volume], bool]) -> tuple[list[str], int]:
        return [volume.name for volume in self.found if matches(volume)], 7


class FakeProcesses:
    def __init__(self) -> None:
        self.records = {"e1": ExecRecord("e1", RUNNING_ID, ExecRequest(cmd=("ls", "-l")))}

    async def create(self, reference: str, request: ExecRequest) -> str:
        exec_id = f"e{len(self.records) + 1}"
        self.records[exec_id] = ExecRecord(exec_id, RUNNING_ID, request)
        return exec_id

    def get(self, exec_id: str) -> ExecRecord:
        if exec_id not in self.records:
            raise NotFound(f"No such exec instance: {exec_id}")
        return self.records[exec_id]


class FakeEngine:
    def __init__(self) -> None:
        self.settings = Settings(data_root="/data")
        self.host = HostInfo("6.1", "Debian", "12", "x86_64", "amd64", 2, 4 << 30, "box")
        self.events = Events(lambda: NOW)
        self.containers = FakeContainers()
        self.images = FakeImages()
        self.volumes = FakeVolumes()
        self.processes = FakeProcesses()
        self.storage_facts = StorageFacts("overlay2", (("Backing Filesystem", "extfs"),))
        self.networks = Networks("172.17.0.0/16", "172.17.0.1", bridge="tiffin0", created_ns=NOW)
        self.runtime = SimpleNamespace(
            facts=HostFacts(controllers=frozenset({"memory", "cpu", "cpuset", "pids"})), programs={}
        )
        self.builds = SimpleNamespace(
            cache_records=self._no_records, config_changes=lambda *_: lambda config: config
        )

    async def _no_records(self) -> list[Any]:
        return []


@dataclass
class FakeBody:
    data: bytes = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data

    async def read(self, limit: int) -> bytes:
        return self.data


@dataclass
class Said:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = ""

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json()["message"])


async def _no_hijack(content_type: str) -> HijackedConnection:
    raise AssertionError("nothing to hijack here")


def router_of(engine: FakeEngine) -> Router:
    return Router(routes(engine))  # type: ignore[arg-type]


async def asking(
    engine: FakeEngine | Router, method: str, target: str, body: Any = None, **headers: str
) -> Said:
    """Of an engine's routes, made for this one request, or of a router that lives on."""
    path, _, query = target.partition("?")
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    request = Request(method, path, Query(query), sent, FakeBody(data), _no_hijack, chunks=False)
    router = engine if isinstance(engine, Router) else router_of(engine)
    answer = await router.answer(request)
    if isinstance(answer, Response):
        return Said(answer.status, answer.body, dict(answer.headers), answer.content_type)
    assert isinstance(answer, Stream)
    said = b""
    try:
        async for chunk in answer.chunks:
            said += chunk
    except Exception as error:  # noqa: BLE001 - as the connection does
        assert answer.failure is not None
        said += answer.failure(error)
    return Said(answer.status, said, dict(answer.headers), answer.content_type)


def ask(
    engine: FakeEngine | Router, method: str, target: str, body: Any = None, **headers: str
) -> Said:
    return asyncio.run(asking(engine, method, target, body, **headers))
