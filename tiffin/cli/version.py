"""`version`: ours, and the daemon's."""

from __future__ import annotations

import posix
import sys

from tiffin import __version__
from tiffin.cli.failures import CommandFailed
from tiffin.cli.options import Arguments, Command
from tiffin.cli.output import align, say

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
        "Context": "default",
    }


def version(client: Client, arguments: Arguments) -> int:
    newest = client.version
    server: dict[str, Any] | None = None
    failure: CommandFailed | None = None
    try:
        server = client.get("/version")
    except CommandFailed as error:
        failure = error
    ours = describe_client(client, newest)
    template = arguments.text("format")
    if template:
        from tiffin.cli.gotemplate import print_one

        print_one(template, {"Client": ours, "Server": server})
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
