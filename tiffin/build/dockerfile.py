"""Dockerfile text to instructions, after BuildKit's parser. PURE.

Lines are joined at the escape character, comments and blank lines inside a joined line drop out,
heredoc bodies follow their line. Whatever is wrong is an InvalidArgument in BuildKit's words that
names the line and the file. Nothing is expanded here: that needs the values of the moment (plan).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from tiffin.build.expand import Dialect, expand_words
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
    Heredoc,
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
from tiffin.core.durations import parse_duration
from tiffin.core.image import Healthcheck
from tiffin.errors import InvalidArgument

MAX_LINE_BYTES = 65535  # Docker reads lines with a scanner of this size
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_DIRECTIVE = re.compile(r"#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_DIRECTIVES = ("syntax", "escape", "check")
_HEREDOC = re.compile(r"(\d*)<<(-?)\s*([^<]*)")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_RAW = Dialect(keep_quotes=True, keep_escapes=True, keep_unset=True)


def parse(data: bytes, name: str = "Dockerfile") -> Dockerfile:
    """Raises InvalidArgument naming line and file."""
    reader = _Reader(data)
    try:
        instructions = [_instruction(line, reader.escape) for line in reader.logical_lines()]
        return _stages(instructions, name, reader)
    except _LineError as error:
        raise located(error.args[0], error.line, name) from error


def parse_trigger(text: str, line: int, name: str) -> Instruction:
    """One ONBUILD instruction of a base image, as if it stood on the line of FROM."""
    reader = _Reader(text.encode())
    try:
        found = [_instruction(each, reader.escape) for each in reader.logical_lines()]
    except _LineError as error:
        raise located(error.args[0], line, name) from error
    if len(found) != 1:
        raise located("onbuild trigger should be a single expression", line, name)
    return replace(found[0], line=line)


def parse_instructions(lines: list[str]) -> list[Instruction]:
    """Instructions without a FROM (`--change` of commit and import). InvalidArgument."""
    reader = _Reader("\n".join(lines).encode())
    try:
        return [_instruction(each, reader.escape) for each in reader.logical_lines()]
    except _LineError as error:
        raise InvalidArgument(error.args[0]) from error


def located(message: str, line: int, name: str) -> InvalidArgument:
    return InvalidArgument(f"dockerfile parse error on line {line}: {message} ({name}:{line})")


class _LineError(Exception):
    def __init__(self, message: str, line: int):
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class _Line:
    """A logical line: the keyword, its flags, the rest, and what followed as heredocs."""

    number: int
    text: str
    heredocs: tuple[Heredoc, ...] = ()


class _Reader:
    """Physical lines to logical ones."""

    def __init__(self, data: bytes):
        self.escape = "\\"
        self._lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
        if self._lines and not self._lines[-1]:
            self._lines.pop()
        self._at = 0
        self._directives_possible = True
        self._directives_seen: set[str] = set()

    @property
    def last_line(self) -> int:
        return max(self._at, 1)

    def logical_lines(self) -> Iterator[_Line]:
        while self._at < len(self._lines):
            text = self._next().lstrip()
            number = self._at
            self._directive(text)
            text, complete = self._continued("" if text.startswith("#") else text)
            if complete and not text:
                continue
            yield self._logical_line(number, text, complete=complete)

    def _logical_line(self, number: int, text: str, *, complete: bool) -> _Line:
        pieces = [text]
        while not complete and self._at < len(self._lines):
            following = self._next()
            self._directives_possible = False
            if not following.strip() or following.lstrip().startswith("#"):
                continue
            piece, complete = self._continued(following)
            pieces.append(piece)
        joined = "".join(pieces)
        return _Line(number, joined, tuple(self._heredocs(joined, number)))

    def _next(self) -> str:
        raw = self._lines[self._at]
        self._at += 1
        if len(raw) >= MAX_LINE_BYTES:
            raise _LineError(
                f"dockerfile line greater than max allowed size of {MAX_LINE_BYTES}", self._at
            )
        if b"\0" in raw:
            raise _LineError("a NUL byte is not text", self._at)
        return raw.decode("utf-8", "replace").rstrip("\r")

    def _directive(self, text: str) -> None:
        if not self._directives_possible:
            return
        match = _DIRECTIVE.match(text)
        key = match[1].lower() if match else ""
        if not match or key not in _DIRECTIVES:
            self._directives_possible = False
            return
        if key in self._directives_seen:
            raise _LineError(f"only one {key} parser directive can be used", self._at)
        self._directives_seen.add(key)
        if key == "escape":
            if match[2] not in ("\\", "`"):
                raise _LineError(
                    f"invalid escape token '{match[2]}' does not match ` or \\", self._at
                )
            self.escape = match[2]

    def _continued(self, text: str) -> tuple[str, bool]:
        """The line without its continuation character, and whether it ended there."""
        stripped = text.rstrip(" \t")
        if not stripped.endswith(self.escape) or stripped.endswith(self.escape * 2):
            return text, True
        return stripped[:-1], False

    def _heredocs(self, text: str, number: int) -> Iterator[Heredoc]:
        if "<<" not in text or not _takes_heredocs(text, self.escape):
            return
        for word in _heredoc_words(text):
            heredoc = _heredoc_of(word)
            if heredoc:
                yield replace(heredoc, content=self._body(heredoc, number))

    def _body(self, heredoc: Heredoc, number: int) -> str:
        lines: list[str] = []
        while self._at < len(self._lines):
            raw = self._lines[self._at]
            line = self._next()
            if (line.lstrip("\t") if heredoc.chomp else line) == heredoc.name:
                return "".join(lines)
            lines.append(raw.decode("utf-8", "replace") + "\n")
        raise _LineError("unterminated heredoc", number)


def _takes_heredocs(text: str, escape: str) -> bool:
    keyword, _, rest = _split_keyword(text, escape)
    if keyword.upper() == "ONBUILD":
        keyword, _, rest = _split_keyword(rest, escape)
    return keyword.upper() in ("ADD", "COPY", "RUN") and _json_words(rest) is None


def _heredoc_words(text: str) -> list[str]:
    try:
        return expand_words(text, {}, _RAW)
    except InvalidArgument:  # an unbalanced quote is the shell's business
        return []


def _heredoc_of(word: str) -> Heredoc | None:
    match = _HEREDOC.fullmatch(word)
    if not match or not match[3]:
        return None
    try:
        plain = expand_words(match[3], {}, Dialect(keep_unset=True))
        quoted = expand_words(match[3], {}, Dialect(keep_unset=True, keep_quotes=True))
    except InvalidArgument:
        return None
    if len(plain) != 1 or len(quoted) != 1:
        return None
    expands = sum(map(plain[0].count, "'\"")) == sum(map(quoted[0].count, "'\""))
    return Heredoc(plain[0], "", expands, match[2] == "-")


# One logical line to an instruction


def _split_keyword(text: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    parts = _BLANKS.split(text.strip(), maxsplit=1)
    if len(parts) < 2:
        return parts[0], (), ""
    flags, rest = _flags(parts[1], escape)
    return parts[0], flags, rest.strip()


def _flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The leading words that begin with --, unquoted, and the rest of the line."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if not text.startswith("--", position):
            return tuple(flags), text[position:]
        word, position = _flag_word(text, position, escape)
        if word == "--":
            return tuple(flags), text[position:]
        flags.append(word)


def _flag_word(text: str, position: int, escape: str) -> tuple[str, int]:
    word = []
    quote = ""
    while position < len(text):
        character = text[position]
        if not quote and character.isspace():
            break
        position += 1
        if quote and character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif character == escape:
            word.append(text[position : position + 1])
            position += 1
        else:
            word.append(character)
    return "".join(word), position


def _words(text: str, escape: str) -> list[str]:
    """Words with their quotes and escapes kept (expansion strips them later)."""
    words: list[str] = []
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if not quote and character.isspace():
            if word:
                words.append("".join(word))
                word = []
            continue
        if character == escape and quote != "'":
            if position == len(text):
                break  # an escape at the very end means nothing
            word.append(character)
            character = text[position]
            position += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        word.append(character)
    if word:
        words.append("".join(word))
    return words


def _json_words(text: str) -> tuple[str, ...] | None:
    """The JSON form, or None if it is not one. Raises ValueError for an array of other things."""
    if not text.lstrip().startswith("["):
        return None
    try:
        decoded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(decoded, list):
        return None
    if not all(isinstance(word, str) for word in decoded):
        raise ValueError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(decoded)


@dataclass
class _Request:
    """What a keyword's parser gets."""

    keyword: str
    line: _Line
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
        words = _json_words(self.rest)
        if words is not None:
            return words, False
        return ((self.rest,) if self.rest else ()), True

    def list(self) -> list[str]:
        words = _json_words(self.rest)
        if words is not None:
            return list(words)
        return _BLANKS.split(self.rest) if self.rest else []

    def pairs(self) -> tuple[tuple[str, str], ...]:
        words = _words(self.rest, self.escape)
        self.some(words)
        if "=" not in words[0]:
            old = _BLANKS.split(self.rest, maxsplit=1)
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


def _instruction(line: _Line, escape: str) -> Instruction:
    keyword, flags, rest = _split_keyword(line.text, escape)
    parser = _PARSERS.get(keyword.upper())
    if parser is None:
        raise _LineError(f"unknown instruction: {keyword}", line.number)
    try:
        parsed = parser(_Request(keyword.upper(), line, flags, rest, escape))
    except ValueError as error:
        raise _LineError(str(error), line.number) from error
    return replace(parsed, line=line.number, text=line.text.strip())


def _from(request: _Request) -> Instruction:
    words = _BLANKS.split(request.rest)
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
    for word in request.some(_words(request.rest, request.escape)):
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
    if _heredoc_of(words[-1]):
        raise ValueError(f"{request.keyword} cannot accept a heredoc as a destination")
    bodies = {heredoc.name: heredoc for heredoc in request.line.heredocs}
    marks = [(word, _heredoc_of(word)) for word in words[:-1]]
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
    ports = request.some(_BLANKS.split(request.rest) if request.rest else [])
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
    words = _json_words(request.rest)
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
    words = _json_words(rest)
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


def _stages(instructions: list[Instruction], name: str, reader: _Reader) -> Dockerfile:
    if not instructions:
        raise _LineError("file with no instructions", reader.last_line)
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
            raise _LineError("no build stage in current context", instruction.line)
    if not stages:
        raise _LineError("dockerfile contains no stages to build", reader.last_line)
    return Dockerfile(name, reader.escape, tuple(arguments), tuple(stages))
