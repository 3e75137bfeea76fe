"""What a Dockerfile can say: a frozen type per instruction, values as written, nothing expanded."""

from __future__ import annotations

from dataclasses import dataclass, field

from tiffin.core.image import Healthcheck


@dataclass(frozen=True, kw_only=True)
class Instruction:
    line: int = 0  # where it begins, from 1
    text: str = ""  # the logical line: continuations joined, heredoc bodies left out

    @property
    def name(self) -> str:
        return self.text.split(None, 1)[0].upper()


@dataclass(frozen=True)
class Heredoc:
    name: str
    content: str  # as written, without the terminator
    expand: bool = True  # the word was not quoted
    chomp: bool = False  # <<-: leading tabs go

    @property
    def body(self) -> str:
        if not self.chomp:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


@dataclass(frozen=True, kw_only=True)
class From(Instruction):
    image: str
    stage: str = ""  # AS, lower case
    platform: str = ""


@dataclass(frozen=True, kw_only=True)
class Arg(Instruction):
    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, kw_only=True)
class Env(Instruction):
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Label(Instruction):
    pairs: tuple[tuple[str, str], ...]
    literal: bool = False  # from the command line: nothing in it is expanded


@dataclass(frozen=True, kw_only=True)
class Run(Instruction):
    words: tuple[str, ...]
    shell: bool  # not the JSON form: SHELL goes before it
    heredocs: tuple[Heredoc, ...] = ()
    network: str = "default"  # default, none, host
    mounts: tuple[str, ...] = ()
    security: str = "sandbox"
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cmd(Instruction):
    words: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, kw_only=True)
class Entrypoint(Instruction):
    words: tuple[str, ...]
    shell: bool


@dataclass(frozen=True, kw_only=True)
class Copy(Instruction):
    """COPY and ADD. `inline` are heredoc sources; they come after the paths."""

    sources: tuple[str, ...]
    destination: str
    inline: tuple[Heredoc, ...] = ()
    is_add: bool = False
    source_stage: str = ""  # --from: a stage's name or number, or an image
    owner: str = ""
    mode: str = ""
    link: bool = False
    parents: bool = False
    excludes: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, kw_only=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, kw_only=True)
class Expose(Instruction):
    ports: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, kw_only=True)
class Shell(Instruction):
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HealthCheck(Instruction):
    check: Healthcheck


@dataclass(frozen=True, kw_only=True)
class OnBuild(Instruction):
    trigger: str


@dataclass(frozen=True, kw_only=True)
class Maintainer(Instruction):
    author: str


@dataclass(frozen=True)
class Stage:
    origin: From
    instructions: tuple[Instruction, ...] = ()


@dataclass(frozen=True)
class Dockerfile:
    name: str  # as errors call it
    escape: str
    arguments: tuple[Arg, ...]  # ARG before the first FROM
    stages: tuple[Stage, ...] = field(default=())
