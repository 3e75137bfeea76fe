"""`info`, `events`, `system ping`."""

from __future__ import annotations

from tiffin import __version__
from tiffin.cli.failures import CommandFailed, DaemonAnswered
from tiffin.cli.jsontext import show
from tiffin.cli.listing import filters_query, parse_filter
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import complain, say
from tiffin.cli.wording import binary_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tiffin.cli.client import Client


def ping(client: Client, _: Arguments) -> None:
    client.negotiate()
    say("OK")


def info(client: Client, arguments: Arguments) -> int:
    found: dict[str, Any] = {}
    failure: CommandFailed | None = None
    form = arguments.text("format")
    if not form or _needs_daemon(form, client):
        try:
            found = client.get("/info")
        except CommandFailed as error:
            failure = error
    if form:
        from tiffin.cli.template.engine import print_one

        if isinstance(failure, DaemonAnswered):
            found["ServerErrors"] = [failure.message]
        try:
            print_one(form, {**found, "ClientInfo": _client(client)}, kind="system.dockerInfo")
        except CommandFailed as error:
            if error.code == 1 and failure is not None:
                raise CommandFailed(f"{failure.message}\n{error.message}") from error
            raise
    else:
        say(f"Client:\n Version:    {__version__}\n Context:    {client.context}")
        say(f" Debug Mode: {_yes(client.debug)}\n")
        say("\n".join(["Server:", *(_server(found, client.debug) if found else ())]))
        for warning in found.get("Warnings") or ():
            complain(warning)
    if failure is not None:
        raise failure
    return 0


def _needs_daemon(form: str, client: Client) -> bool:
    """A template that is content with what the client knows of itself asks no daemon."""
    from tiffin.cli.template.engine import parse
    from tiffin.cli.template.gotypes import type_of
    from tiffin.cli.template.govalues import Value

    if form in ("json", "{{json .}}"):
        return True
    if not any(rest[:1].isascii() and rest[:1].isalpha() for rest in form.split(".")[1:]):
        return True
    try:
        ours = {"ClientInfo": _client(client)}
        parse(form).render(Value(type_of("system.sparseInfo"), ours))
    except (CommandFailed, ValueError):
        return True
    return False


def _yes(value: object) -> str:
    return str(bool(value)).lower()


def _client(client: Client) -> dict[str, Any]:
    from tiffin.cli.version import describe_client

    ours = {**describe_client(client, client.version), "ApiVersion": ""}
    return {"Debug": client.debug, **ours, "Plugins": []}


def _server(found: dict[str, Any], debug: bool) -> Iterator[str]:
    yield from (
        f" Containers: {found.get('Containers', 0)}",
        f"  Running: {found.get('ContainersRunning', 0)}",
        f"  Paused: {found.get('ContainersPaused', 0)}",
        f"  Stopped: {found.get('ContainersStopped', 0)}",
        f" Images: {found.get('Images', 0)}",
    )
    yield from _present(found, ("Server Version", "ServerVersion"), ("Storage Driver", "Driver"))
    for name, value in found.get("DriverStatus") or ():
        yield f"  {name}: {value}"
    yield from _present(
        found,
        ("Logging Driver", "LoggingDriver"),
        ("Cgroup Driver", "CgroupDriver"),
        ("Cgroup Version", "CgroupVersion"),
    )
    plugins = found.get("Plugins") or {}
    yield " Plugins:"
    for kind in ("Volume", "Network", "Authorization", "Log"):
        if kind != "Authorization" or plugins.get(kind):
            yield f"  {kind}: {' '.join(plugins.get(kind) or ())}"
    yield f" Swarm: {(found.get('Swarm') or {}).get('LocalNodeState', '')}"
    if found.get("Runtimes"):
        yield f" Runtimes: {' '.join(sorted(found['Runtimes']))}"
        yield f" Default Runtime: {found.get('DefaultRuntime', '')}"
    yield from _linux(found)
    yield from _machine(found, debug)
    yield from _settings(found)


def _present(found: dict[str, Any], *pairs: tuple[str, str]) -> Iterator[str]:
    for title, key in pairs:
        if found.get(key):
            yield f" {title}: {found[key]}"


def _linux(found: dict[str, Any]) -> Iterator[str]:
    yield f" Init Binary: {found.get('InitBinary', '')}"
    for title, key in (
        ("containerd", "ContainerdCommit"),
        ("runc", "RuncCommit"),
        ("init", "InitCommit"),
    ):
        yield f" {title} version: {(found.get(key) or {}).get('ID', '')}"
    if found.get("SecurityOptions"):
        yield " Security Options:"
    for option in found.get("SecurityOptions") or ():
        settings = dict(part.partition("=")[::2] for part in option.split(","))
        yield f"  {settings.get('name', option)}"
        if "profile" in settings:
            yield f"   Profile: {settings['profile']}"


def _machine(found: dict[str, Any], debug: bool) -> Iterator[str]:
    """`debug`: the client is to tell more."""
    yield from _present(
        found,
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    )
    yield f" CPUs: {found.get('NCPU', 0)}"
    yield f" Total Memory: {binary_size(found.get('MemTotal', 0))}"
    yield from _present(found, ("Name", "Name"), ("ID", "ID"))
    yield f" Docker Root Dir: {found.get('DockerRootDir', '')}"
    yield f" Debug Mode: {_yes(found.get('Debug'))}"
    if debug or found.get("Debug"):
        yield f"  File Descriptors: {found.get('NFd', 0)}"
        yield f"  Goroutines: {found.get('NGoroutines', 0)}"
        yield f"  System Time: {found.get('SystemTime', '')}"
        yield f"  EventsListeners: {found.get('NEventsListener', 0)}"


def _settings(found: dict[str, Any]) -> Iterator[str]:
    yield from _present(
        found, ("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")
    )
    if found.get("Labels"):
        yield " Labels:"
        yield from (f"  {label}" for label in found["Labels"])
    yield f" Experimental: {_yes(found.get('ExperimentalBuild'))}"
    registries = found.get("RegistryConfig") or {}
    indexes = registries.get("IndexConfigs") or {}
    ranges = registries.get("InsecureRegistryCIDRs") or ()
    if indexes or ranges:
        yield " Insecure Registries:"
        yield from (f"  {each['Name']}" for each in indexes.values() if not each.get("Secure"))
        yield from (f"  {each}" for each in ranges)
    if registries.get("Mirrors"):
        yield " Registry Mirrors:"
        yield from (f"  {mirror}" for mirror in registries["Mirrors"])
    yield f" Live Restore Enabled: {_yes(found.get('LiveRestoreEnabled'))}"
    if found.get("DefaultAddressPools"):
        yield " Default Address Pools:"
        for pool in found["DefaultAddressPools"]:
            yield f"   Base: {pool['Base']}, Size: {pool['Size']}"
    yield ""


def events(client: Client, arguments: Arguments) -> None:
    from tiffin.cli.moments import timestamp

    query = {
        option: timestamp(arguments.text(option))
        for option in ("since", "until")
        if arguments.text(option)
    }
    form = arguments.text("format")
    print_event = _event_printer(form) if form else None
    answer = client.request("GET", "/events", query | filters_query(arguments.many("filter")))
    for event in answer.documents():
        if print_event is not None:
            print_event(event)
        else:
            say(_event(event))


def _event_printer(form: str) -> Callable[[dict[str, Any]], None]:
    """Prints an event by a template, which is read once. CommandFailed for one that is wrong."""
    if form == "json":
        return lambda event: say(show(event))
    from tiffin.cli.template.engine import TemplateError, parse
    from tiffin.cli.template.gotypes import type_of
    from tiffin.cli.template.govalues import Value

    template = parse(form, blame="Error parsing format")
    try:
        template.render(Value(type_of("*events.Message"), {}))
    except TemplateError as error:
        raise CommandFailed(f"Error parsing format: {error}", 64) from error

    def print_event(event: dict[str, Any]) -> None:
        try:
            say(template.render(Value(type_of("events.Message"), event)))
        except TemplateError as error:
            say(error.partial)
            raise CommandFailed(str(error)) from error

    return print_event


def _event(event: dict[str, Any]) -> str:
    from tiffin.cli.moments import exact

    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    nanoseconds = event.get("timeNano") or event.get("time", 0) * 1_000_000_000
    text = f"{exact(nanoseconds)} {event['Type']} {event['Action']} {actor.get('ID', '')}"
    if attributes:
        pairs = ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes))
        text += f" ({pairs})"
    return text


_FORMAT = "Format output using a custom template, or 'json'"
INFO = Command(
    info,
    " [OPTIONS]",
    "Display system-wide information",
    (("format", "f", "string", _FORMAT),),
    most=0,
)
EVENTS = Command(
    events,
    " [OPTIONS]",
    "Get real time events from the server",
    (
        ("filter", "f", "filter", "Filter output based on conditions provided"),
        ("format", "", "string", _FORMAT),
        ("since", "", "string", "Show all events created since timestamp"),
        ("until", "", "string", "Stream events until this timestamp"),
    ),
    most=0,
    checks={"filter": parse_filter},
)
PING = Command(ping, "", "Ask the daemon whether it is there", most=0)
