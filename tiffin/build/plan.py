"""Which stages a build needs, and from where: the graph of a Dockerfile. PURE.

Names are resolved here, once: a FROM or a COPY --from means a stage or an image. What the target
does not reach is dropped. `ARG` before the first FROM is a scope of its own: FROM lines see it, a
stage only what it declares again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tiffin.build.dockerfile import located
from tiffin.build.expand import Dialect, expand
from tiffin.build.instructions import Arg, Copy, Dockerfile, Instruction, Label, Stage
from tiffin.build.state import PROXY_ARGUMENTS, Scope, refuse_unsupported
from tiffin.core.image import Platform
from tiffin.errors import InvalidArgument, TiffinError

SCRATCH = "scratch"


@dataclass(frozen=True)
class Request:
    """What the user asked for, apart from the files."""

    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""  # "linux/amd64"; "" is the machine's
    machine: Platform = field(default_factory=lambda: Platform("amd64", "linux"))


@dataclass(frozen=True)
class Origin:
    """What a stage begins with: another stage, an image, or nothing (scratch)."""

    stage: int | None = None
    image: str = ""
    platform: str = ""


@dataclass(frozen=True)
class StagePlan:
    index: int
    line: int
    title: str  # the FROM line
    origin: Origin
    instructions: tuple[Instruction, ...]
    needs: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Plan:
    """Reachable stages in the order of the file; `target` is the index of the wanted one."""

    name: str  # of the Dockerfile, for errors
    arguments: tuple[Arg, ...]  # shown as steps
    stages: dict[int, StagePlan]
    target: int
    scope: Scope
    step_count: int
    proxies: Mapping[str, str]
    unused_args: tuple[str, ...]
    names: Mapping[str, int]
    stage_count: int
    machine: Platform


def make_plan(dockerfile: Dockerfile, request: Request) -> Plan:
    """Raises InvalidArgument: unknown target, blank base, bad ARG, a stage that needs itself."""
    global_args = _global_args(dockerfile, request)
    names: dict[str, int] = {}
    every: list[StagePlan] = []
    for index, stage in enumerate(dockerfile.stages):
        origin = _origin(stage, names, global_args, dockerfile)
        every.append(
            StagePlan(
                index,
                stage.origin.line,
                stage.origin.text,
                origin,
                stage.instructions,
            )
        )
        if stage.origin.stage:
            names[stage.origin.stage] = index
    target = _target(request.target, names, len(every))
    every[target] = _with_labels(every[target], request.labels)
    linked = {each.index: _linked(each, names, len(every), dockerfile.name) for each in every}
    reached = _reachable(linked, target)
    for index in sorted(reached):
        _check(linked[index], dockerfile.name)
    return Plan(
        name=dockerfile.name,
        arguments=dockerfile.arguments,
        stages={index: linked[index] for index in sorted(reached)},
        target=target,
        scope=Scope(dockerfile.escape, dict(request.build_args), global_args),
        step_count=len(dockerfile.arguments)
        + sum(1 + len(linked[index].instructions) for index in reached),
        proxies={k: v for k, v in request.build_args.items() if k in PROXY_ARGUMENTS},
        unused_args=_unused(dockerfile, request),
        names=names,
        stage_count=len(every),
        machine=request.machine,
    )


def copy_source(reference: str, current: int, count: int, names: Mapping[str, int]) -> Origin:
    """What COPY --from means in stage `current`. Raises InvalidArgument."""
    if expand(reference, {}) != reference:
        raise InvalidArgument(
            "variable expansion is not supported for --from, define a new stage with FROM "
            "using ARG from global scope as a workaround"
        )
    index = names.get(reference.lower())
    if index is None and reference.isascii() and reference.isdecimal():
        index = int(reference[:9])
        if index >= count:
            raise InvalidArgument(f"invalid stage index {reference}")
    if index is None:
        return Origin(image=reference)
    if index == current:
        raise InvalidArgument(f"circular dependency in stages: {reference}")
    if index > current:
        raise InvalidArgument(
            f'cannot copy from stage "{reference}", it needs to be defined before current stage'
        )
    return Origin(stage=index)


def _global_args(dockerfile: Dockerfile, request: Request) -> dict[str, str]:
    values = _platform_args(request)
    dialect = Dialect(escape=dockerfile.escape)
    for argument in dockerfile.arguments:
        for name, default in argument.pairs:
            given = request.build_args.get(name)
            if given is not None:
                values[name] = given
            elif default is not None:
                with at_line(argument.line, dockerfile.name):
                    values[name] = expand(default, values, dialect)
    return values


class at_line:  # noqa: N801 - reads as a preposition
    """Errors raised inside are about this line."""

    def __init__(self, line: int, name: str):
        self._line = line
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InvalidArgument):
            raise located(error.message, self._line, self._name) from error
        if isinstance(error, TiffinError):
            message = f"{error.message} ({self._name}:{self._line})"
            raise type(error)(message) from error


def _platform_args(request: Request) -> dict[str, str]:
    machine = request.machine
    wanted = parse_platform(request.platform) if request.platform else machine
    values = {}
    for prefix, platform in (("BUILD", machine), ("TARGET", wanted)):
        values[f"{prefix}PLATFORM"] = format_platform(platform)
        values[f"{prefix}OS"] = platform.os
        values[f"{prefix}OSVERSION"] = platform.os_version
        values[f"{prefix}ARCH"] = platform.architecture
        values[f"{prefix}VARIANT"] = platform.variant
    values["TARGETSTAGE"] = request.target or "default"
    return {name: request.build_args.get(name, value) for name, value in values.items()}


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm"}


def parse_platform(text: str) -> Platform:
    """ "linux/arm64/v8". Raises InvalidArgument."""
    parts = text.lower().split("/")
    if len(parts) == 1 and parts[0] not in ("linux", "windows", "darwin", "freebsd"):
        parts = ["linux", *parts]
    known = all(part.replace("_", "").replace("-", "").isalnum() for part in parts)
    if not 1 <= len(parts) <= 3 or not known:
        raise InvalidArgument(f'"{text}" is an invalid OS component of "{text}"')
    architecture = parts[1] if len(parts) > 1 else "amd64"
    return Platform(
        _ARCHITECTURES.get(architecture, architecture),
        parts[0],
        parts[2] if len(parts) > 2 else "",
    )


def format_platform(platform: Platform) -> str:
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


def _origin(
    stage: Stage, names: Mapping[str, int], values: Mapping[str, str], dockerfile: Dockerfile
) -> Origin:
    dialect = Dialect(escape=dockerfile.escape)
    with at_line(stage.origin.line, dockerfile.name):
        base = expand(stage.origin.image, values, dialect)
        if not base:
            raise InvalidArgument(f"base name ({stage.origin.image}) should not be blank")
        platform = ""
        if stage.origin.platform:
            platform = expand(stage.origin.platform, values, dialect)
            if not platform:
                written = stage.origin.platform
                raise InvalidArgument(f"empty platform value from expression {written}")
            parse_platform(platform)
    if base in names:
        return Origin(stage=names[base])
    return Origin(image="" if base == SCRATCH else base, platform=platform)


def _target(wanted: str, names: Mapping[str, int], count: int) -> int:
    if not wanted:
        return count - 1
    if wanted.lower() in names:
        return names[wanted.lower()]
    if wanted.isascii() and wanted.isdecimal() and int(wanted[:9]) < count:
        return int(wanted[:9])
    raise InvalidArgument(f'target stage "{wanted}" could not be found')


def _with_labels(plan: StagePlan, labels: Mapping[str, str]) -> StagePlan:
    """--label is a LABEL at the end, one for each, as Docker shows it."""
    added = tuple(
        Label(
            line=plan.line,
            text=f"LABEL {name}={value}",
            pairs=((name, value),),
            literal=True,
        )
        for name, value in sorted(labels.items())
    )
    return replace(plan, instructions=(*plan.instructions, *added))


def _linked(plan: StagePlan, names: Mapping[str, int], count: int, name: str) -> StagePlan:
    needs = set()
    if plan.origin.stage is not None:
        needs.add(plan.origin.stage)
    for instruction in plan.instructions:
        if isinstance(instruction, Copy) and instruction.source_stage:
            with at_line(instruction.line, name):
                source = copy_source(instruction.source_stage, plan.index, count, names)
            if source.stage is not None:
                needs.add(source.stage)
    return replace(plan, needs=frozenset(needs))


def _check(plan: StagePlan, name: str) -> None:
    """What can be refused before anything is done is refused then."""
    for instruction in plan.instructions:
        with at_line(instruction.line, name):
            refuse_unsupported(instruction)


def _reachable(plans: Mapping[int, StagePlan], target: int) -> set[int]:
    reached: set[int] = set()
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index not in reached:
            reached.add(index)
            waiting.extend(plans[index].needs)
    return reached


def _unused(dockerfile: Dockerfile, request: Request) -> tuple[str, ...]:
    """Build arguments that no ARG asks for: Docker warns of them."""
    declared = {name for argument in dockerfile.arguments for name, _ in argument.pairs}
    for stage in dockerfile.stages:
        for instruction in stage.instructions:
            if isinstance(instruction, Arg):
                declared.update(name for name, _ in instruction.pairs)
    known = declared | PROXY_ARGUMENTS | set(_platform_args(request)) | {"SOURCE_DATE_EPOCH"}
    return tuple(
        sorted(
            name
            for name in request.build_args
            if name not in known and not name.startswith("BUILDKIT_")
        )
    )
