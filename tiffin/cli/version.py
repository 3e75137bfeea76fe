"""`version`: ours, and the daemon's."""

from __future__ import annotations

import posix
import sys

from tiffin import __version__
from tiffin.cli.failures import CommandFailed
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import say
from tiffin.cli.tables import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.client import Client

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
# What Docker calls them, and in its order.
_ENGINE_DETAILS = (
    ("Go version", "GoVersion"),
    ("Python version", "PythonVersion"),
    ("Git commit", "GitCommit"),
    ("Built", "BuildTime"),
)


def architecture() -> str:
    machine = posix.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def describe_client(client: Client, newest: str) -> dict[str, str]:
    numbers = sys.version_info
    return {
        "Version": __version__,
        "ApiVersion": client.version,
        "DefaultAPIVersion": newest,
        "PythonVersion": f"{numbers[0]}.{numbers[1]}.{numbers[2]}",
        "Os": "linux",
        "Arch": architecture(),
        "Context": client.context,
    }


def calendar_date(text: str) -> str:
    """`2026-05-07T21:09:36Z` as `Thu May  7 21:09:36 2026`; anything else as it is."""
    day, _, clock = text.partition("T")
    parts = day.split("-")
    if len(parts) != 3 or len(clock) < 8 or not all(map(str.isdecimal, parts)):
        return text
    year, month, date = map(int, parts)
    before = year - (month < 3)
    shift = (0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4)[month - 1]
    weekday = (before + before // 4 - before // 100 + before // 400 + shift + date) % 7
    names = "Sun Mon Tue Wed Thu Fri Sat Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    return f"{names[weekday]} {names[6 + month]} {date:2} {clock[:8]} {year}"


def version(client: Client, arguments: Arguments) -> int:
    newest = client.version
    server: dict[str, Any] | None = None
    failure: CommandFailed | None = None
    try:
        server = client.get("/version")
    except CommandFailed as error:
        failure = error
    ours = describe_client(client, newest)
    for component in (server or {}).get("Components") or ():
        if component["Name"] == "Engine" and (component.get("Details") or {}).get("BuildTime"):
            component["Details"]["BuildTime"] = calendar_date(component["Details"]["BuildTime"])
    template = arguments.text("format")
    if template:
        from tiffin.cli.template.engine import print_one

        document = {"Client": ours, "Server": server}
        try:
            kind = "system.versionInfo"
            print_one(template, document, "version", kind, lambda text: align(text, 20, 1))
        except CommandFailed as error:
            if error.code == 1 and failure is not None:  # no document to fit: that is why
                raise failure from error
            raise
    else:
        say(align(_text(ours, server), 20, 1))
    if failure is not None:
        raise failure
    return 0


def _text(ours: dict[str, str], server: dict[str, Any] | None) -> str:
    lines = ["Client:", f" Version:\t{ours['Version']}"]
    downgraded = ""
    if ours["ApiVersion"] != ours["DefaultAPIVersion"]:
        downgraded = f" (downgraded from {ours['DefaultAPIVersion']})"
    lines += [
        f" API version:\t{ours['ApiVersion']}{downgraded}",
        f" Python version:\t{ours['PythonVersion']}",
        f" OS/Arch:\t{ours['Os']}/{ours['Arch']}",
        f" Context:\t{ours['Context']}",
    ]
    if server is not None:
        name = (server.get("Platform") or {}).get("Name", "")
        lines += ["", f"Server: {name}".rstrip()]
        for component in server.get("Components") or [_engine(server)]:
            lines += _component(component)
    return "\n".join(lines)


def _engine(server: dict[str, Any]) -> dict[str, Any]:
    """The engine as a component, where the daemon lists none."""
    return {"Name": "Engine", "Version": server.get("Version", ""), "Details": server}


def _component(component: dict[str, Any]) -> list[str]:
    details = component.get("Details") or {}
    lines = [f" {component['Name']}:", f"  Version:\t{component.get('Version', '')}"]
    if component["Name"] != "Engine":
        return lines + [f"  {name}:\t{details[name]}" for name in sorted(details)]
    lines.append(
        f"  API version:\t{details.get('ApiVersion', '')} "
        f"(minimum version {details.get('MinAPIVersion', '')})"
    )
    lines += [f"  {title}:\t{details[key]}" for title, key in _ENGINE_DETAILS if details.get(key)]
    lines.append(f"  OS/Arch:\t{details.get('Os', '')}/{details.get('Arch', '')}")
    lines.append(f"  Experimental:\t{str(details.get('Experimental', 'false')).lower()}")
    return lines


VERSION = Command(
    version,
    " [OPTIONS]",
    "Show the tiffin version information",
    (("format", "f", "string", "Format output using a custom template, or 'json'"),),
    most=0,
)
