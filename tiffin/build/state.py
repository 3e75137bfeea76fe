"""What an instruction makes of a stage: the next config, words for the history, an action or none.

PURE, after BuildKit's dockerfile2llb. Variables are those of the moment before the instruction, so
`ENV a=1 b=$a` sees the old `a`. An ARG lives in the environment of its stage's steps, never in the
image's config; a stage that continues another one inherits its arguments too.
"""

# ruff: noqa: ARG001 - one signature for all instructions

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch

from msgspec.structs import replace as with_fields

from tiffin.build.actions import Action, CopyFiles, MakeDirectory, RunCommand
from tiffin.build.expand import Dialect, expand, expand_words
from tiffin.build.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    HealthCheck,
    Heredoc,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from tiffin.core.durations import format_duration
from tiffin.core.image import ContainerConfig, Healthcheck
from tiffin.core.signals import parse_signal
from tiffin.errors import InvalidArgument, Unsupported

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
PROXY_ARGUMENTS = frozenset(
    name
    for scheme in ("http", "https", "ftp", "no", "all")
    for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())
)
SCRIPT_DIRECTORY = "/dev/pipes"


@dataclass(frozen=True)
class Scope:
    """What surrounds a stage: the escape character, what the user gave, what stands before FROM."""

    escape: str = "\\"
    build_args: Mapping[str, str] = field(default_factory=dict)
    global_args: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StageState:
    config: ContainerConfig
    variables: Mapping[str, str]  # the config's environment and the arguments
    arguments: tuple[tuple[str, str | None], ...] = ()  # declared, in order
    author: str = ""
    has_cmd: bool = False  # CMD was given in this stage


@dataclass(frozen=True)
class Outcome:
    state: StageState
    created_by: str
    action: Action | None = None


def initial_state(config: ContainerConfig | None, author: str = "") -> StageState:
    """The state after FROM. `config` None is scratch."""
    if config is None:
        config = ContainerConfig(working_dir="/", env=(f"PATH={DEFAULT_PATH}",))
    variables = dict(entry.partition("=")[::2] for entry in config.env or ())
    if "PATH" not in variables:
        variables["PATH"] = DEFAULT_PATH
        config = with_fields(config, env=(*(config.env or ()), f"PATH={DEFAULT_PATH}"))
    return StageState(with_fields(config, on_build=None), variables, author=author)


def continued_state(base: StageState) -> StageState:
    """The state after FROM another stage."""
    return replace(base, config=with_fields(base.config, on_build=None), has_cmd=False)


@singledispatch
def evaluate(instruction: Instruction, state: StageState, scope: Scope) -> Outcome:
    """Raises InvalidArgument (what is wrong) or Unsupported (what tiffin does not do)."""
    raise TypeError(f"{instruction.name} is not a step")


def refuse_unsupported(instruction: Instruction) -> None:
    """Raises Unsupported, naming the flag, for what tiffin does not do."""
    if isinstance(instruction, Run):
        _refuse_run_flags(instruction)
    elif isinstance(instruction, Copy):
        _refuse_copy_flags(instruction)


def _changed(state: StageState, created_by: str, **fields: object) -> Outcome:
    return Outcome(replace(state, config=with_fields(state.config, **fields)), created_by)


def _expander(state: StageState, scope: Scope) -> Callable[[str], str]:
    dialect = Dialect(escape=scope.escape)
    return lambda text: expand(text, state.variables, dialect)


def _go_list(words: Iterable[str]) -> str:
    return f"[{' '.join(words)}]"


def _go_quoted(words: Iterable[str]) -> str:
    return _go_list(json.dumps(word, ensure_ascii=False) for word in words)


@evaluate.register
def _(instruction: Env, state: StageState, scope: Scope) -> Outcome:
    word = _expander(state, scope)
    pairs = [(word(name), word(value)) for name, value in instruction.pairs]
    if not all(name for name, _ in pairs):
        raise InvalidArgument("ENV names can not be blank")
    env = {entry.partition("=")[0]: entry for entry in state.config.env or ()}
    env.update({name: f"{name}={value}" for name, value in pairs})
    written = " ".join(f"{name}={value}" for name, value in pairs)
    outcome = _changed(state, f"ENV {written}", env=tuple(env.values()))
    variables = {**state.variables, **dict(pairs)}
    return replace(outcome, state=replace(outcome.state, variables=variables))


@evaluate.register
def _(instruction: Arg, state: StageState, scope: Scope) -> Outcome:
    variables = dict(state.variables)
    arguments = list(state.arguments)
    written = []
    for name, default in instruction.pairs:
        value = scope.build_args.get(name)
        if value is None:
            value = _default_argument(name, default, variables, scope)
        if value is not None:
            variables[name] = value
        arguments.append((name, value))
        written.append(name if value is None else f"{name}={value}")
    return Outcome(
        replace(state, variables=variables, arguments=tuple(arguments)),
        f"ARG {' '.join(written)}",
    )


def _default_argument(
    name: str, default: str | None, variables: Mapping[str, str], scope: Scope
) -> str | None:
    if default is None:
        return scope.global_args.get(name)
    return expand(default, variables, Dialect(escape=scope.escape))


@evaluate.register
def _(instruction: Label, state: StageState, scope: Scope) -> Outcome:
    word = str if instruction.literal else _expander(state, scope)
    pairs = {word(name): word(value) for name, value in instruction.pairs}
    written = " ".join(f"{name}={value}" for name, value in pairs.items())
    return _changed(state, f"LABEL {written}", labels={**(state.config.labels or {}), **pairs})


@evaluate.register
def _(instruction: Cmd, state: StageState, scope: Scope) -> Outcome:
    argv = _command_line(instruction, state)
    outcome = _changed(state, f"CMD {_go_quoted(argv)}", cmd=argv, args_escaped=True)
    return replace(outcome, state=replace(outcome.state, has_cmd=True))


@evaluate.register
def _(instruction: Entrypoint, state: StageState, scope: Scope) -> Outcome:
    argv = _command_line(instruction, state)
    cmd = state.config.cmd if state.has_cmd else None
    return _changed(state, f"ENTRYPOINT {_go_quoted(argv)}", entrypoint=argv or None, cmd=cmd)


def _command_line(instruction: Cmd | Entrypoint | Run, state: StageState) -> tuple[str, ...]:
    if not instruction.shell:
        return instruction.words
    return _with_shell(state, *instruction.words)


def _with_shell(state: StageState, *lines: str) -> tuple[str, ...]:
    return (*(state.config.shell or DEFAULT_SHELL), *lines)


@evaluate.register
def _(instruction: User, state: StageState, scope: Scope) -> Outcome:
    user = _expander(state, scope)(instruction.user)
    return _changed(state, f"USER {user}", user=user)


@evaluate.register
def _(instruction: Volume, state: StageState, scope: Scope) -> Outcome:
    paths = [_expander(state, scope)(path) for path in instruction.paths]
    if not all(paths):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    volumes = {**(state.config.volumes or {}), **{path: {} for path in paths}}
    return _changed(state, f"VOLUME {_go_list(paths)}", volumes=volumes)


@evaluate.register
def _(instruction: StopSignal, state: StageState, scope: Scope) -> Outcome:
    signal = _expander(state, scope)(instruction.signal)
    parse_signal(signal)
    return _changed(state, f"STOPSIGNAL {signal}", stop_signal=signal)


@evaluate.register
def _(instruction: Shell, state: StageState, scope: Scope) -> Outcome:
    return _changed(state, f"SHELL {_go_list(instruction.words)}", shell=instruction.words)


@evaluate.register
def _(instruction: HealthCheck, state: StageState, scope: Scope) -> Outcome:
    check = instruction.check
    return _changed(state, f"HEALTHCHECK {_go_healthcheck(check)}", healthcheck=check)


def _go_healthcheck(check: Healthcheck) -> str:
    times = (
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    )
    written = " ".join(f"{name}:{format_duration(value)}" for name, value in times)
    return f"{{Test:{_go_list(check.test or ())} {written} Retries:{check.retries}}}"


@evaluate.register
def _(instruction: OnBuild, state: StageState, scope: Scope) -> Outcome:
    triggers = (*(state.config.on_build or ()), instruction.trigger)
    return _changed(state, f"ONBUILD {instruction.trigger}", on_build=triggers)


@evaluate.register
def _(instruction: Maintainer, state: StageState, scope: Scope) -> Outcome:
    return Outcome(replace(state, author=instruction.author), f"MAINTAINER {instruction.author}")


_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


@evaluate.register
def _(instruction: Expose, state: StageState, scope: Scope) -> Outcome:
    dialect = Dialect(escape=scope.escape)
    words = [
        word for port in instruction.ports for word in expand_words(port, state.variables, dialect)
    ]
    ports = [port for word in words for port in exposed_ports(word)]
    exposed = {**(state.config.exposed_ports or {}), **{port: {} for port in ports}}
    return _changed(state, f"EXPOSE {_go_list(ports)}", exposed_ports=exposed)


def exposed_ports(text: str) -> list[str]:
    """ "8000-8001/udp" as ["8000/udp", "8001/udp"]; a host part before colons means nothing."""
    ports, _, protocol = text.rsplit(":", 1)[-1].partition("/")
    match = _PORT.fullmatch(ports)
    first = int(match[1]) if match else -1
    last = int(match[2] or match[1]) if match else -1
    if not match or not 0 <= first <= last <= 65535:
        raise InvalidArgument(f"invalid containerPort: {ports}")
    protocol = protocol.lower() or "tcp"
    if protocol not in ("tcp", "udp", "sctp"):
        raise InvalidArgument(f"invalid proto: {protocol}")
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


@evaluate.register
def _(instruction: Workdir, state: StageState, scope: Scope) -> Outcome:
    path = absolute(state.config.working_dir, _expander(state, scope)(instruction.path))
    outcome = _changed(state, f"WORKDIR {path}", working_dir=path)
    if path == "/":
        return outcome
    return replace(outcome, action=MakeDirectory(path, state.config.user))


def absolute(working_dir: str, path: str, *, keep_slash: bool = False) -> str:
    """`path` seen from the working directory, clean. A meaningful end ("/", "/.") can be kept."""
    joined = posixpath.join("/", working_dir, path)
    clean = posixpath.normpath(joined)
    clean = clean[1:] if clean.startswith("//") else clean
    if keep_slash and (path.endswith(("/", "/.")) or path in ("", ".")) and clean != "/":
        clean += "/"
    return clean


@evaluate.register
def _(instruction: Run, state: StageState, scope: Scope) -> Outcome:
    _refuse_run_flags(instruction)
    argv, script = _run_argv(instruction, state)
    action = RunCommand(
        argv=argv,
        env=tuple(f"{name}={value}" for name, value in state.variables.items()),
        working_dir=state.config.working_dir,
        user=state.config.user,
        network=instruction.network,
        script=script,
        shown=" ".join(argv),
    )
    return Outcome(state, f"RUN {_run_history(argv, state)} # buildkit", action)


def _refuse_run_flags(instruction: Run) -> None:
    if instruction.mounts:
        raise Unsupported("RUN --mount is not supported by tiffin yet")
    if instruction.security != "sandbox":
        raise Unsupported(f"RUN --security={instruction.security} is not supported by tiffin")
    if instruction.devices:
        raise Unsupported("RUN --device is not supported by tiffin")


def _run_argv(instruction: Run, state: StageState) -> tuple[tuple[str, ...], Heredoc | None]:
    if not instruction.heredocs:
        return _command_line(instruction, state), None
    line = instruction.words[0]
    first = instruction.heredocs[0]
    if len(instruction.heredocs) > 1 or not _is_only_a_heredoc(line):
        bodies = "".join(f"\n{each.content}{each.name}" for each in instruction.heredocs)
        return _with_shell(state, line + bodies), None
    if first.body.startswith("#!"):
        return _with_shell(state, f"{SCRIPT_DIRECTORY}/{first.name}"), first
    return _with_shell(state, first.body), None


def _is_only_a_heredoc(line: str) -> bool:
    return re.fullmatch(r"\d*<<-?\s*[^<\s]+", line) is not None


def _run_history(argv: tuple[str, ...], state: StageState) -> str:
    values = {name: state.variables.get(name, value or "") for name, value in state.arguments}
    given = [f"|{len(values)}", *(f"{name}={value}" for name, value in values.items())]
    return " ".join([*(given if values else []), *argv])


@evaluate.register
def _(instruction: Copy, state: StageState, scope: Scope) -> Outcome:
    _refuse_copy_flags(instruction)
    word = _expander(state, scope)
    keyword = "ADD" if instruction.is_add else "COPY"
    destination = word(instruction.destination)
    action = CopyFiles(
        instruction=keyword,
        sources=tuple(word(source) for source in instruction.sources),
        inline=tuple(_expanded(document, state) for document in instruction.inline),
        destination=absolute(state.config.working_dir, destination, keep_slash=True),
        owner=word(instruction.owner),
        mode=checked_mode(word(instruction.mode)),
        excludes=instruction.excludes,
        unpack=instruction.is_add if instruction.unpack is None else instruction.unpack,
    )
    _refuse_remote(action)
    return Outcome(state, f"{_copy_history(action, destination)} # buildkit", action)


def _refuse_copy_flags(instruction: Copy) -> None:
    refused = {
        "--parents": instruction.parents,
        "--checksum": bool(instruction.checksum),
        "--keep-git-dir": instruction.keep_git_dir is not None,
    }
    for flag, given in refused.items():
        if given:
            raise Unsupported(f"{instruction.name} {flag} is not supported by tiffin yet")


_REMOTE = re.compile(r"(https?|git|ssh)://|git@")


def _refuse_remote(action: CopyFiles) -> None:
    for source in action.sources:
        if not _REMOTE.match(source):
            continue
        if action.instruction == "COPY":
            raise InvalidArgument("source can't be a URL for COPY")
        raise Unsupported(f"ADD of a URL is not supported by tiffin yet: {source}")


def _expanded(document: Heredoc, state: StageState) -> Heredoc:
    body = document.body
    if document.expand:
        body = expand(body, state.variables, Dialect(quotes_are_text=True))
    return Heredoc(document.name, body, expand=False)


def _copy_history(action: CopyFiles, destination: str) -> str:
    words = [action.instruction]
    if action.owner:
        words.append(f"--chown={action.owner}")
    if action.mode:
        words.append(f"--chmod={action.mode}")
    inline = [f"<<{document.name}" for document in action.inline]
    return " ".join([*words, *action.sources, *inline, destination])


def checked_mode(text: str) -> str:
    """An octal mode, or letters as chmod(1) takes them ("u+x,go-w"). Raises InvalidArgument."""
    if text and text.isdecimal():
        if not re.fullmatch("[0-7]+", text) or int(text, 8) > 0o7777:
            raise InvalidArgument(
                f"invalid chmod parameter: '{text}'. "
                "it should be octal string and between 0 and 07777"
            )
    elif text and not re.fullmatch(r"[ugoa]*([-+=][rwxXst]*)+(,[ugoa]*([-+=][rwxXst]*)+)*", text):
        raise InvalidArgument(f"invalid chmod parameter: '{text}'")
    return text
