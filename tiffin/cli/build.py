"""`build`."""

from __future__ import annotations

import posix

from tiffin.cli.context import LocalContext, is_archive, single_dockerfile
from tiffin.cli.credentials import every_login
from tiffin.cli.failures import CommandFailed
from tiffin.cli.files import read_pieces
from tiffin.cli.jsontext import encode
from tiffin.cli.names import parse_name
from tiffin.cli.optionchecks import check_env, check_extra_host, check_label, check_no_trust
from tiffin.cli.options import Arguments, Command, to_pair
from tiffin.cli.output import STDERR, STDOUT, is_terminal, write
from tiffin.cli.progress import show_progress
from tiffin.cli.quantities import parse_size, parse_swap, parse_ulimit
from tiffin.cli.surroundings import environment
from tiffin.cli.uploading import upload
from tiffin.cli.wording import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from tiffin.cli.client import Client

_REMOTE = ("http://", "https://", "git://", "git@", "github.com/")


def check_tag(text: str) -> str:
    try:
        parse_name(text)
    except CommandFailed as error:
        raise ValueError(error.message) from error
    return text


def build(client: Client, arguments: Arguments) -> int:
    where, dockerfile = arguments.words[0], arguments.text("file")
    if where == "-" and dockerfile == "-":
        raise CommandFailed(
            "invalid argument: can't use stdin for both build context and dockerfile"
        )
    id_file = arguments.text("iidfile")
    if id_file:
        _remove_stale(id_file)
    query = build_query(arguments)
    pieces: Iterable[bytes] = ()
    if where == "-":
        pieces, query["dockerfile"] = _context_from_stdin(dockerfile)
    elif where.startswith(_REMOTE):
        query["remote"] = where
        query["dockerfile"] = dockerfile
    else:
        context = LocalContext(where, dockerfile)
        if dockerfile == "-":
            context.foreign = b"".join(read_pieces())
        pieces, query["dockerfile"] = context.stream(), context.dockerfile
    return _send(client, arguments, query, pieces)


def _send(
    client: Client, arguments: Arguments, query: dict[str, Any], pieces: Iterable[bytes]
) -> int:
    quiet = arguments.flag("quiet")
    headers = {"Content-Type": "application/x-tar", **every_login()}
    query = {name: value for name, value in query.items() if value not in ("", [], None)}
    shown = -1 if quiet else STDOUT
    body = _counted(pieces, shown)
    if arguments.flag("compress"):
        body = _compressed(body)
    answer = upload(client, "POST", "/build", query, body, headers)
    results: list[str] = []
    quietly: list[str] = []
    messages = answer.documents()
    if quiet:
        messages = _keep_streams(messages, quietly)

    def on_result(result: Any) -> None:
        if isinstance(result, dict) and result.get("ID"):
            results.append(result["ID"])

    try:
        show_progress(messages, shown, on_result)
    except CommandFailed:
        write(STDERR, "".join(quietly).encode("utf-8", "surrogateescape"))
        raise
    if quiet:
        write(STDOUT, "".join(quietly).encode("utf-8", "surrogateescape"))
    return _write_id(arguments.text("iidfile"), results or [each.strip() for each in quietly])


def _keep_streams(messages: Iterable[dict[str, Any]], kept: list[str]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if message.get("stream"):
            kept.append(message["stream"])
        yield message


def _compressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    import zlib

    packer = zlib.compressobj(wbits=31)  # in a gzip frame
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


def _counted(pieces: Iterable[bytes], descriptor: int) -> Iterator[bytes]:
    """The pieces; how much it was is said at the end, on a terminal also on the way."""
    total, told = 0, 0
    terminal = descriptor >= 0 and is_terminal(descriptor)
    words = "Sending build context to Docker daemon"
    for piece in pieces:
        total += len(piece)
        if terminal and total - told > 1 << 20:
            told = total
            write(descriptor, f"\r{words}  {human_size(total):>8}".encode())
        yield piece
    if descriptor >= 0 and total:
        start = "\r" if terminal else ""
        write(descriptor, f"{start}{words}  {human_size(total)}\n".encode())


def _context_from_stdin(dockerfile: str) -> tuple[Iterator[bytes], str]:
    source = read_pieces()
    start = b""
    for piece in source:
        start += piece
        if len(start) >= 1024:
            break
    if is_archive(start):
        return _chain(start, source), dockerfile
    if dockerfile:
        raise CommandFailed(
            "unable to prepare context: ambiguous Dockerfile source: "
            "both stdin and flag correspond to Dockerfiles"
        )
    return single_dockerfile(start + b"".join(source)), "Dockerfile"


def _chain(start: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield start
    yield from rest


def _remove_stale(path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        words = (error.strerror or "").lower()
        raise CommandFailed(f"Removing image ID file: remove {path}: {words}") from error


def _write_id(path: str, results: list[str]) -> int:
    if not path:
        return 0
    if not results:
        raise CommandFailed(f"Server did not provide an image ID. Cannot write {path}")
    with open(path, "w", encoding="ascii") as file:
        file.write(results[-1])
    return 0


def _build_argument(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else environment(name)


def build_query(arguments: Arguments) -> dict[str, Any]:
    """What the options say, as Docker's classic builder takes it."""
    query: dict[str, Any] = {
        "t": arguments.many("tag"),
        "securityopt": arguments.many("security-opt"),
        "extrahosts": arguments.many("add-host"),
        "version": "1",
    }
    for option, key in (
        ("quiet", "q"),
        ("no-cache", "nocache"),
        ("force-rm", "forcerm"),
        ("pull", "pull"),
        ("squash", "squash"),
    ):
        if arguments.flag(option):
            query[key] = "1"
    if not arguments.flag("rm", default=True):
        query["rm"] = "0"
    for option, key in (
        ("cpuset-cpus", "cpusetcpus"),
        ("cpuset-mems", "cpusetmems"),
        ("cgroup-parent", "cgroupparent"),
        ("target", "target"),
        ("isolation", "isolation"),
        ("platform", "platform"),
        ("cpu-shares", "cpushares"),
        ("cpu-quota", "cpuquota"),
        ("cpu-period", "cpuperiod"),
        ("memory", "memory"),
        ("memory-swap", "memswap"),
        ("shm-size", "shmsize"),
    ):
        if arguments.values.get(option):
            query[key] = str(arguments.values[option])
    if arguments.text("network", "default") not in ("default", ""):
        query["networkmode"] = arguments.text("network")
    query |= _documents(arguments)
    return query


def _documents(arguments: Arguments) -> dict[str, str]:
    """The parts of the query that are JSON."""
    limits = {limit["Name"]: limit for limit in arguments.many("ulimit")}
    found: dict[str, Any] = {
        "ulimits": [limits[name] for name in sorted(limits)],
        "buildargs": dict(_build_argument(text) for text in arguments.many("build-arg")),
        "labels": dict(to_pair(text) for text in arguments.many("label")),
        "cachefrom": [name for text in arguments.many("cache-from") for name in text.split(",")],
    }
    return {name: encode(value).decode() for name, value in found.items() if value}


BUILD = Command(
    build,
    " [OPTIONS] PATH | URL | -",
    "Build an image from a Dockerfile",
    (
        ("add-host", "", "list", 'Add a custom host-to-IP mapping ("host:ip")'),
        ("build-arg", "", "list", "Set build-time variables"),
        ("cache-from", "", "list", "Images to consider as cache sources"),
        (
            "cgroup-parent",
            "",
            "string",
            'Set the parent cgroup for the "RUN" instructions during build',
        ),
        ("compress", "", "bool", "Compress the build context using gzip"),
        ("cpu-period", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) period"),
        ("cpu-quota", "", "int", "Limit the CPU CFS (Completely Fair Scheduler) quota"),
        ("cpu-shares", "c", "int", "CPU shares (relative weight)"),
        ("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        ("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        ("disable-content-trust", "", "bool", "Skip image verification (default true)"),
        ("file", "f", "string", 'Name of the Dockerfile (Default is "PATH/Dockerfile")'),
        ("force-rm", "", "bool", "Always remove intermediate containers"),
        ("isolation", "", "string", "Container isolation technology"),
        ("iidfile", "", "string", "Write the image ID to the file"),
        ("label", "", "list", "Set metadata for an image"),
        ("memory", "m", "bytes", "Memory limit"),
        (
            "memory-swap",
            "",
            "bytes",
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        ),
        (
            "network",
            "",
            "string",
            'Set the networking mode for the RUN instructions during build (default "default")',
        ),
        ("no-cache", "", "bool", "Do not use cache when building the image"),
        ("platform", "", "string", "Set platform if server is multi-platform capable"),
        ("pull", "", "bool", "Always attempt to pull a newer version of the image"),
        ("quiet", "q", "bool", "Suppress the build output and print image ID on success"),
        (
            "rm",
            "",
            "bool",
            "Remove intermediate containers after a successful build (default true)",
        ),
        ("security-opt", "", "list", "Security options"),
        ("shm-size", "", "bytes", 'Size of "/dev/shm"'),
        ("squash", "", "bool", "Squash newly built layers into a single new layer"),
        ("tag", "t", "list", 'Name and optionally a tag in the "name:tag" format'),
        ("target", "", "string", "Set the target build stage to build."),
        ("ulimit", "", "ulimit", "Ulimit options"),
    ),
    least=1,
    most=1,
    checks={
        "disable-content-trust": check_no_trust,
        "add-host": check_extra_host,
        "build-arg": check_env,
        "label": check_label,
        "memory": parse_size,
        "memory-swap": parse_swap,
        "shm-size": parse_size,
        "tag": check_tag,
        "ulimit": parse_ulimit,
    },
)
