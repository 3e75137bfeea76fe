"""The network of a build's RUN: attached like a container, for as long as the step runs."""

from __future__ import annotations

import asyncio

from tiffin.core.container import HostConfig
from tiffin.core.image import ContainerConfig
from tiffin.engine.attachments import Attached, Attachments, Guest


class AttachedStep:
    def __init__(self, attachments: Attachments, step_id: str, attached: Attached) -> None:
        self._attachments = attachments
        self._id = step_id
        self._attached = attached
        self.hostname = attached.hostname
        self.etc_files = attached.etc_files

    async def connect(self, pid: int) -> None:
        await self._attachments.connect(self._id, self._attached, pid)

    async def release(self) -> None:
        self._attached.close()
        await self._attachments.release(self._id)
        await asyncio.to_thread(self._attachments.forget_files, self._id)


class AttachedSteps:
    """stepports.StepNetworks on the engine's attachments."""

    def __init__(self, attachments: Attachments) -> None:
        self._attachments = attachments

    async def prepare(self, step_id: str, host_config: HostConfig) -> AttachedStep:
        guest = Guest(step_id, f"build-{step_id[:12]}", ContainerConfig(), host_config)
        return AttachedStep(self._attachments, step_id, await self._attachments.prepare(guest))
