"""What `import` makes an image of: a tar that is sent or lies at an address, and few words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tiffin.core.image import ContainerConfig, History, ImageConfig, Platform, RootFS
from tiffin.engine.progress import Reporter
from tiffin.registry import download
from tiffin.registry.client import RegistryClient
from tiffin.storage.database import LayerBlob


@asynccontextmanager
async def source(
    archive: AsyncIterator[bytes], address: str, registry: RegistryClient, report: Reporter
) -> AsyncIterator[AsyncIterator[bytes]]:
    """The `archive`, where the address is "-"."""
    if address == "-":
        yield archive
        return
    url = download.absolute(address)
    async with download.opened(registry.transport, url) as reply:
        report.status(f"Downloading from {download.shown(url)}")
        total = reply.head.headers.get("content-length", "")
        tell = report.amounts("", "Importing", int(total) if total.isdigit() else 0)
        yield _counted(reply.chunks(), tell)


async def _counted(
    chunks: AsyncIterator[bytes], tell: Callable[[int], None]
) -> AsyncIterator[bytes]:
    done = 0
    async for chunk in chunks:
        done += len(chunk)
        tell(done)
        yield chunk


def document(
    blob: LayerBlob, config: ContainerConfig, platform: Platform, comment: str, now: str
) -> ImageConfig:
    return ImageConfig(
        architecture=platform.architecture,
        os=platform.os,
        variant=platform.variant,
        created=now,
        comment=comment,
        config=config,
        rootfs=RootFS(diff_ids=(blob.diff_id,)),
        history=(History(created=now, comment=comment),),
    )
