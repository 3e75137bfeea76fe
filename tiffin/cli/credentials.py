"""What ~/.docker/config.json knows of registries: who we are there. Nothing is ever printed."""

from __future__ import annotations

import posix

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsonlayout import indent
from tiffin.cli.jsontext import decode, encode
from tiffin.cli.surroundings import config_directory, config_document, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB = "https://index.docker.io/v1/"


def config_path() -> str:
    return f"{config_directory()}/config.json"


def read_config() -> dict[str, Any]:
    """The document, to be changed and written; empty when there is none.

    CommandFailed for one that makes no sense: nobody wants to lose what is in it.
    """
    path = config_path()
    try:
        text = read_file(path)
        document = decode(text) if text.strip() else {}
    except FileNotFoundError:
        return {}
    except OSError as error:
        words = (error.strerror or "").lower()
        raise CommandFailed(f"cannot change {path}: {words}") from error
    except ValueError as error:
        raise CommandFailed(f"cannot change {path}: {error}") from error
    if not isinstance(document, dict):
        raise CommandFailed(f"cannot change {path}: not an object")
    return document


def write_config(document: dict[str, Any]) -> None:
    import os

    os.makedirs(config_directory(), 0o700, exist_ok=True)
    path = os.path.realpath(config_path())  # a link goes on to be one
    partial = f"{path}.{posix.getpid()}"
    descriptor = posix.open(partial, posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC, 0o600)
    posix.write(descriptor, indent(document).replace("    ", "\t").encode() + b"\n")
    posix.fsync(descriptor)
    posix.close(descriptor)
    posix.rename(partial, path)


def base64url(data: bytes) -> str:
    import binascii

    text = binascii.b2a_base64(data, newline=False).decode()
    return text.replace("+", "-").replace("/", "_")


def server_of(domain: str) -> str:
    """The key of a registry in the configuration."""
    return HUB if domain in ("docker.io", "index.docker.io", "registry-1.docker.io") else domain


def hostname(server: str) -> str:
    return server.removeprefix("https://").removeprefix("http://").partition("/")[0]


def find_login(server: str, config: dict[str, Any] | None = None) -> dict[str, str]:
    """What to send to the registry `server`: empty when nobody logged in there."""
    if config is None:
        config = config_document()
    helper = (config.get("credHelpers") or {}).get(server) or config.get("credsStore")
    if helper:
        return _ask_helper(helper, server)
    logins = config.get("auths") or {}
    found = logins.get(server)
    if found is None:
        found = next((logins[key] for key in logins if hostname(key) == hostname(server)), None)
    return _plain(found, server) if found else {}


def _plain(entry: dict[str, str], server: str) -> dict[str, str]:
    import binascii

    known = {"username": entry.get("username", ""), "password": entry.get("password", "")}
    if entry.get("auth"):
        try:
            user, _, password = binascii.a2b_base64(entry["auth"]).decode().partition(":")
        except ValueError as error:
            raise CommandFailed(f"Invalid auth configuration file: {error}") from error
        known = {"username": user, "password": password.strip("\0")}
    for name in ("identitytoken", "registrytoken"):
        if entry.get(name):
            known[name] = entry[name]
    return known | {"serveraddress": server}


def _ask_helper(helper: str, server: str) -> dict[str, str]:
    import subprocess

    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"],
            input=server.encode(),
            capture_output=True,
            check=False,
        )
    except OSError:
        return {}
    if done.returncode != 0:
        return {}
    found = decode(done.stdout)
    if found.get("Username") == "<token>":
        return {"identitytoken": found["Secret"], "serveraddress": server}
    return {
        "username": found["Username"],
        "password": found["Secret"],
        "serveraddress": found.get("ServerURL") or server,
    }


def auth_header(domain: str) -> dict[str, str]:
    """The X-Registry-Auth header for a registry; `{}` in it where there is no login."""
    return {"X-Registry-Auth": base64url(encode(find_login(server_of(domain))))}


def every_login() -> dict[str, str]:
    """The X-Registry-Config header of a build, which may need any of them."""
    config = config_document()
    servers = [*(config.get("auths") or {}), *(config.get("credHelpers") or {})]
    found = {server: find_login(server, config) for server in servers}
    known = {server: login for server, login in found.items() if login}
    return {"X-Registry-Config": base64url(encode(known))}
