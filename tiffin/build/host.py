"""What a build needs of the machine: images, layers, the cache and processes, in the build's words.

engine.builds implements it on storage, runtime and images; the unit tests have a fake.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tiffin.build.actions import RunCommand
from tiffin.core.image import ImageConfig

Message = dict[str, object]  # one object of the progress stream
Report = Callable[[Message], None]


@dataclass(frozen=True)
class BaseImage:
    image_id: str
    config: ImageConfig
    chain_id: str | None  # None: no layers


@dataclass(frozen=True)
class Layer:
    chain_id: str
    diff_id: str


@dataclass(frozen=True)
class Recollection:
    """A step that was done before. `layer` None: it changed no file, or only the config."""

    key: str
    layer: Layer | None
    created_ns: int
    description: str = ""


class Draft(Protocol):
    """A layer in the making. Blocking methods are called in threads."""

    def mounted(self) -> AbstractContextManager[int]:
        """A directory descriptor of the whole tree, to be changed."""
        ...

    def commit(self, epoch_ns: int | None) -> Layer | None:
        """Make it a layer; None if nothing was changed. No file keeps a time after `epoch_ns`."""
        ...


class BuildHost(Protocol):
    async def base(self, reference: str, platform: str, report: Report) -> BaseImage:
        """The image, pulled if need be. Raises NotFound and what a pull raises."""
        ...

    def recall(self, keys: Sequence[str]) -> Recollection | None:
        """The first of the keys whose result still exists. Blocking, short."""
        ...

    def remember(self, recollections: Sequence[Recollection]) -> None:
        """Blocking, short."""
        ...

    def only_one(self, key: str) -> AbstractAsyncContextManager[None]:
        """While held, no other build executes the step of this key."""
        ...

    def draft(self, parent: str | None) -> AbstractAsyncContextManager[Draft]:
        """A layer on `parent`; whatever is not committed is gone at the end."""
        ...

    def tree(self, chain_id: str | None) -> AbstractContextManager[int]:
        """A directory descriptor of a committed tree, read-only. Blocking."""
        ...

    def is_archive(self, file: int) -> bool:
        """Whether the open file is a tar, compressed or not. Blocking; moves the offset."""
        ...

    def unpack(self, file: int, directory: int, owner: tuple[int, int] | None) -> None:
        """Unpack an archive of the user's into `directory`, as hostile input. Blocking."""
        ...

    async def run(
        self,
        command: RunCommand,
        draft: Draft,
        step_id: str,
        proxies: Mapping[str, str],
        output: Callable[[int, bytes], Awaitable[None]],
    ) -> int:
        """Run a command in the draft's tree; its exit code. `output` gets stream (1, 2) and bytes.

        Cancelling it kills the command. Raises CannotStart.
        """
        ...

    def new_step_id(self) -> str: ...

    def now_ns(self) -> int: ...
