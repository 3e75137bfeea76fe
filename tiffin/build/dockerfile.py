"""Dockerfile text to instructions, after BuildKit's parser. PURE.

Whatever is wrong is an InvalidArgument in BuildKit's words that names the line and the file.
Nothing is expanded here: that needs the values of the moment (plan).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tiffin.build.instructions import (
    Arg,
    Cmd,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    From,
    HealthCheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    Stage,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from tiffin.build.lines import Line, LineError, Reader, heredoc_of
from tiffin.build.words import BLANKS, json_words, split_keyword, words_of
from tiffin.core.durations import parse_duration
from tiffin.core.image import Healthcheck
from tiffin.errors import InvalidArgument

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")


def parse(data: bytes, name: str = "Dockerfile") -> Dockerfile:
    """Raises InvalidArgument naming line and file."""
    reader = Reader(data)
    try:
        instructions = [_instruction(line, reader.escape) for line in reader.logical_lines()]
        return _stages(instructions, name, reader)
    except LineError as error:
        raise located(error.args[0], error.line, name) from error


def parse_trigger(text: str, line: int, name: str) -> Instruction:
    """One ONBUILD instruction of a base image, as if it stood on the line of FROM."""
    reader = Reader(text.encode())
    try:
        found = [_instruction(each, reader.escape) for each in reader.logical_lines()]
    except LineError as error:
        raise located(error.args[0], line, name) from error
    if len(found) != 1:
        raise located("onbuild trigger should be a single expression", line, name)
    return replace(found[0], line=line)


def parse_instructions(lines: list[str]) -> list[Instruction]:
    """Instructions without a FROM (`--change` of commit and import). InvalidArgument."""
    reader = Reader("\n".join(lines).encode())
    try:
        return [_instruction(each, reader.escape) for each in reader.logical_lines()]
    except LineError as error:
        raise InvalidArgument(error.args[0]) from error


def located(message: str, line: int, name: str) -> InvalidArgument:
    return InvalidArgument(f"dockerfile parse error on line {line}: {message} ({name}:{line})")


@dataclass
class _Request:
    """What a keyword's parser gets."""

    keyword: str
    line: Line
    flags: tuple[str, ...]
    rest: str
    escape: str

    def take(self, *, text: tuple[str, ...] = (), lists: tuple[str, ...] = (),
             switches: tuple[str, ...] = ()) -> dict[str, list[str]]:  # fmt: skip
        """The flags by name, each known and well formed. A switch has "true" or "false"."""
        found: dict[str, list[str]] = {}
        for flag in self.flags:
            written, equals, value = flag.partition("=")
            name = written[2:]
            if name not in (*text, *lists, *switches):
                raise ValueError(f"unknown flag: {written}")
            if name in found and name not in lists:
                raise ValueError(f"duplicate flag specified: {written}")
            if name in switches:
                value = _switch(written, value if equals else "true")
            elif not equals:
                raise ValueError(f"missing a value on flag: {written}")
            found.setdefault(name, []).append(value)
        return found

    def one(self) -> str:
        if not self.rest:
            raise ValueError(f"{self.keyword} requires exactly one argument")
        return self.rest

    def some(self, words: list[str] | tuple[str, ...]) -> tuple[str, ...]:
        if not words:
            raise ValueError(f"{self.keyword} requires at least one argument")
        return tuple(words)

    def command(self) -> tuple[tuple[str, ...], bool]:
        """The words and whether SHELL goes before them."""
        words = json_words(self.rest)
        if words is not None:
            return words, False
        return ((self.rest,) if self.rest else ()), True

    def list(self) -> list[str]:
        words = json_words(self.rest)
        if words is not None:
            return list(words)
        return BLANKS.split(self.rest) if self.rest else []

    def pairs(self) -> tuple[tuple[str, str], ...]:
        words = words_of(self.rest, self.escape)
        self.some(words)
        if "=" not in words[0]:
            old = BLANKS.split(self.rest, maxsplit=1)
            if len(old) < 2:
                raise ValueError(f"{self.keyword} must have two arguments")
            return ((old[0], old[1]),)
        pairs = []
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                quoted = json.dumps(word, ensure_ascii=False)
                raise ValueError(
                    f"Syntax error - can't find = in {quoted}. Must be of the form: name=value"
                )
            if not name:
                raise ValueError(f"{self.keyword} names can not be blank")
            pairs.append((name, value))
        return tuple(pairs)


def _switch(written: str, value: str) -> str:
    if value == "":
        raise ValueError(f"missing a value on flag: {written}")
    if value.lower() not in ("true", "false"):
        raise ValueError(f"expecting boolean value for flag {written}, not: {value}")
    return value.lower()


def _instruction(line: Line, escape: str) -> Instruction:
    keyword, flags, rest = split_keyword(line.text, escape)
    parser = _PARSERS.get(keyword.upper())
    if parser is None:
        raise LineError(f"unknown instruction: {keyword}", line.number)
    try:
        parsed = parser(_Request(keyword.upper(), line, flags, rest, escape))
    except ValueError as error:
        raise LineError(str(error), line.number) from error
    return replace(parsed, line=line.number, text=line.text.strip())


def _from(request: _Request) -> Instruction:
    words = BLANKS.split(request.rest)
    stage = ""
    if len(words) == 3 and words[1].lower() == "as":
        stage = words[2].lower()
        if not _STAGE_NAME.fullmatch(stage):
            raise ValueError(
                f'invalid name for build stage: "{words[2]}", '
                "name can't start with a number or contain symbols"
            )
    elif len(words) != 1 or not words[0]:
        raise ValueError("FROM requires either one or three arguments")
    flags = request.take(text=("platform",))
    return From(
        image=words[0],
        stage=stage,
        platform=_only(flags, "platform"),
    )


def _only(flags: Mapping[str, list[str]], name: str, default: str = "") -> str:
    return flags.get(name, [default])[0]


def _arg(request: _Request) -> Instruction:
    pairs: list[tuple[str, str | None]] = []
    for word in request.some(words_of(request.rest, request.escape)):
        name, equals, value = word.partition("=")
        if not name:
            raise ValueError("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    return Arg(pairs=tuple(pairs))


def _env(request: _Request) -> Instruction:
    request.take()
    return Env(pairs=request.pairs())


def _label(request: _Request) -> Instruction:
    request.take()
    return Label(pairs=request.pairs())


def _run(request: _Request) -> Instruction:
    flags = request.take(text=("network", "security"), lists=("mount", "device"))
    network = _only(flags, "network", "default")
    if network not in ("default", "none", "host"):
        raise ValueError(f'invalid network mode: "{network}"')
    security = _only(flags, "security", "sandbox")
    if security not in ("sandbox", "insecure"):
        raise ValueError(f'security "{security}" is not valid')
    words, shell = request.command()
    if not words:
        raise ValueError("RUN requires at least one argument")
    return Run(
        words=words,
        shell=shell,
        heredocs=request.line.heredocs,
        network=network,
        mounts=tuple(flags.get("mount", ())),
        security=security,
        devices=tuple(flags.get("device", ())),
    )


def _cmd(request: _Request) -> Instruction:
    request.take()
    words, shell = request.command()
    return Cmd(words=words, shell=shell)


def _entrypoint(request: _Request) -> Instruction:
    request.take()
    words, shell = request.command()
    return Entrypoint(words=words, shell=shell)


def _copy(request: _Request) -> Instruction:
    is_add = request.keyword == "ADD"
    words = request.list()
    if len(words) < 2:
        raise ValueError(
            f"{request.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    flags = request.take(
        text=("chown", "chmod") + (("checksum",) if is_add else ("from",)),
        lists=("exclude",),
        switches=("link",) + (("keep-git-dir", "unpack") if is_add else ("parents",)),
    )
    if heredoc_of(words[-1]):
        raise ValueError(f"{request.keyword} cannot accept a heredoc as a destination")
    bodies = {heredoc.name: heredoc for heredoc in request.line.heredocs}
    marks = [(word, heredoc_of(word)) for word in words[:-1]]
    return Copy(
        sources=tuple(word for word, mark in marks if not mark),
        destination=words[-1],
        inline=tuple(bodies.get(mark.name, mark) for _, mark in marks if mark),
        is_add=is_add,
        source_stage=_only(flags, "from"),
        owner=_only(flags, "chown"),
        mode=_only(flags, "chmod"),
        link=_only(flags, "link") == "true",
        parents=_only(flags, "parents") == "true",
        excludes=tuple(flags.get("exclude", ())),
        checksum=_only(flags, "checksum"),
        keep_git_dir=_optional_switch(flags, "keep-git-dir"),
        unpack=_optional_switch(flags, "unpack"),
    )


def _optional_switch(flags: Mapping[str, list[str]], name: str) -> bool | None:
    return _only(flags, name) == "true" if name in flags else None


def _workdir(request: _Request) -> Instruction:
    request.take()
    return Workdir(path=request.one())


def _user(request: _Request) -> Instruction:
    request.take()
    return User(user=request.one())


def _expose(request: _Request) -> Instruction:
    request.take()
    ports = request.some(BLANKS.split(request.rest) if request.rest else [])
    return Expose(ports=tuple(sorted(ports)))


def _volume(request: _Request) -> Instruction:
    request.take()
    paths = tuple(path.strip() for path in request.some(request.list()))
    if not all(paths):
        raise ValueError("VOLUME specified can not be an empty string")
    return Volume(paths=paths)


def _stop_signal(request: _Request) -> Instruction:
    return StopSignal(signal=request.one())


def _shell(request: _Request) -> Instruction:
    request.take()
    words = json_words(request.rest)
    if words is None:
        request.some((request.rest,) if request.rest else ())
        raise ValueError(
            f"SHELL requires the arguments to be in JSON form. {request.line.text.strip()}"
        )
    return Shell(words=request.some(words))


_HEALTH_TIMES = ("interval", "timeout", "start-period", "start-interval")


def _healthcheck(request: _Request) -> Instruction:
    parts = request.rest.split(None, 1)
    request.some(parts)
    kind = parts[0].upper()
    rest = parts[1] if len(parts) == 2 else ""
    if kind == "NONE":
        if rest:
            raise ValueError("HEALTHCHECK NONE takes no arguments")
        check = Healthcheck(test=("NONE",))
    elif kind == "CMD":
        check = _health_command(request, rest)
    else:
        request.take(text=(*_HEALTH_TIMES, "retries"))
        raise ValueError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)')
    return HealthCheck(check=check)


def _health_command(request: _Request, rest: str) -> Healthcheck:
    flags = request.take(text=(*_HEALTH_TIMES, "retries"))
    words = json_words(rest)
    test = ("CMD", *words) if words is not None else ("CMD-SHELL", *([rest] if rest else []))
    if len(test) < 2:
        raise ValueError("Missing command after HEALTHCHECK CMD")
    retries = _only(flags, "retries") or "0"
    if not re.fullmatch(r"[+-]?\d{1,9}", retries, re.ASCII):
        raise ValueError(f'strconv.ParseInt: parsing "{retries}": invalid syntax')
    if int(retries) < 0:
        raise ValueError(f"--retries cannot be negative ({int(retries)})")
    times = {name: _health_time(name, _only(flags, name)) for name in _HEALTH_TIMES}
    return Healthcheck(
        test=test,
        interval=times["interval"],
        timeout=times["timeout"],
        start_period=times["start-period"],
        start_interval=times["start-interval"],
        retries=int(retries),
    )


def _health_time(name: str, text: str) -> int:
    nanoseconds = parse_duration(text) if text else 0
    if nanoseconds and nanoseconds < 1_000_000:
        raise ValueError(f'Interval "{name}" cannot be less than 1ms')
    return nanoseconds


_ONBUILD = re.compile(r"\s*ONBUILD\s*", re.IGNORECASE)


def _onbuild(request: _Request) -> Instruction:
    if not request.rest:
        raise ValueError("ONBUILD requires at least one argument")
    keyword = request.rest.split(None, 1)[0].upper()
    if keyword == "ONBUILD":
        raise ValueError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise ValueError(f"{keyword} isn't allowed as an ONBUILD trigger")
    request.take()
    _instruction(replace(request.line, text=request.rest), request.escape)
    trigger = _ONBUILD.sub("", request.line.text, count=1)
    for heredoc in request.line.heredocs:
        trigger += f"\n{heredoc.content}{heredoc.name}"
    return OnBuild(trigger=trigger)


def _maintainer(request: _Request) -> Instruction:
    author = request.one()
    request.take()
    return Maintainer(author=author)


_PARSERS: dict[str, Callable[[_Request], Instruction]] = {
    "ADD": _copy,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def _stages(instructions: list[Instruction], name: str, reader: Reader) -> Dockerfile:
    if not instructions:
        raise LineError("file with no instructions", reader.last_line)
    arguments: list[Arg] = []
    stages: list[Stage] = []
    for instruction in instructions:
        if isinstance(instruction, From):
            stages.append(Stage(instruction))
        elif stages:
            last = stages[-1]
            stages[-1] = replace(last, instructions=(*last.instructions, instruction))
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        else:
            raise LineError("no build stage in current context", instruction.line)
    if not stages:
        raise LineError("dockerfile contains no stages to build", reader.last_line)
    return Dockerfile(name, reader.escape, tuple(arguments), tuple(stages))
