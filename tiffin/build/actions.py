"""What a step does to the file system, as values: everything expanded, every choice made.

An action with the same fields on the same parent gives the same layer; that is what a cache key is
made of (keys). An instruction that only changes the config has no action.
"""

from __future__ import annotations

from dataclasses import dataclass

from tiffin.build.instructions import Heredoc


@dataclass(frozen=True)
class RunCommand:
    argv: tuple[str, ...]
    env: tuple[str, ...]  # complete but for proxies, which never count
    working_dir: str
    user: str
    network: str  # default, none, host
    script: Heredoc | None = (
        None  # a heredoc with #!: a file below /dev/pipes, and argv is its path
    )
    shown: str = ""  # for "The command '...' returned a non-zero code"

    def describe(self) -> str:
        return f"run {' '.join(self.argv)} as {self.user or 'root'} in {self.working_dir or '/'}"


@dataclass(frozen=True)
class CopyFiles:
    """`stage` and `image` are where the sources come from: neither means the build context."""

    instruction: str  # COPY or ADD, for messages
    sources: tuple[str, ...]
    inline: tuple[Heredoc, ...]  # bodies expanded
    destination: str  # absolute; a trailing slash means a directory
    stage: int | None = None
    image: str = ""
    owner: str = ""  # "user", "uid", "user:group"; "" keeps the source's (the context's are root's)
    mode: str = ""
    excludes: tuple[str, ...] = ()
    unpack: bool = False  # archives are unpacked instead of copied

    @property
    def from_context(self) -> bool:
        return self.stage is None and not self.image

    def describe(self) -> str:
        names = [*self.sources, *(f"<<{document.name}" for document in self.inline)]
        return f"copy {' '.join(names)} to {self.destination}"


@dataclass(frozen=True)
class MakeDirectory:
    path: str
    user: str

    def describe(self) -> str:
        return f"make directory {self.path}"


Action = RunCommand | CopyFiles | MakeDirectory
