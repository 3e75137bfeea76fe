"""What ~/.docker/config.json knows of registries: who we are there. Nothing is ever printed."""

from __future__ import annotations

import posix

from tiffin.cli.failures import CommandFailed
from tiffin.cli.jsonlayout import indent
from tiffin.cli.jsontext import decode, encode
from tiffin.cli.output import complain
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
    if helper := _helper_for(server, config):
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


def _helper_for(server: str, config: dict[str, Any]) -> str:
    """The program that keeps secrets for `server`; "" where the configuration itself does."""
    return (config.get("credHelpers") or {}).get(server) or config.get("credsStore") or ""


def _run_helper(helper: str, verb: str, said: bytes) -> tuple[int, bytes]:
    """Its exit code and what it wrote. OSError when there is no such program."""
    import subprocess

    done = subprocess.run(
        [f"docker-credential-{helper}", verb], input=said, stdout=subprocess.PIPE, check=False
    )
    return done.returncode, done.stdout


def _ask_helper(helper: str, server: str) -> dict[str, str]:
    try:
        code, said = _run_helper(helper, "get", server.encode())
    except OSError:
        return {}
    if code != 0:
        return {}
    found = decode(said)
    if found.get("Username") == "<token>":
        return {"identitytoken": found["Secret"], "serveraddress": server}
    return {
        "username": found["Username"],
        "password": found["Secret"],
        "serveraddress": found.get("ServerURL") or server,
    }


def keep_login(server: str, user: str, password: str, token: str) -> None:
    """By the helper that the user chose, or else in the configuration, which is told."""
    config = read_config()
    logins = config.setdefault("auths", {})
    if helper := _helper_for(server, config):
        name, secret = ("<token>", token) if token else (user, password)
        entry = {"ServerURL": server, "Username": name, "Secret": secret}
        _tell_helper(helper, "store", encode(entry), "saving")
        logins[server] = {}
    else:
        logins[server] = _entry(user, password, token)
    write_config(config)
    if not helper:
        complain(f"WARNING! Your password is stored unencrypted in {config_path()}.")


def _entry(user: str, password: str, token: str) -> dict[str, str]:
    import binascii

    text = binascii.b2a_base64(f"{user}:{'' if token else password}".encode(), newline=False)
    entry = {"auth": text.decode()}
    return entry | {"identitytoken": token} if token else entry


def forget_login(server: str) -> bool:
    """False when there was none."""
    config = read_config()
    logins = config.get("auths") or {}
    known = [key for key in logins if key == server or hostname(key) == hostname(server)]
    for key in known:
        if helper := _helper_for(key, config):
            _tell_helper(helper, "erase", key.encode(), "erasing")
        del logins[key]
    if known:
        write_config(config)
    return bool(known)


def _tell_helper(helper: str, verb: str, said: bytes, doing: str) -> None:
    try:
        code, words = _run_helper(helper, verb, said)
    except OSError as error:
        problem = (error.strerror or "").lower()
        raise CommandFailed(
            f"Error {doing} credentials: docker-credential-{helper}: {problem}"
        ) from error
    if code:
        text = words.decode("utf-8", "replace").strip()
        raise CommandFailed(
            f"Error {doing} credentials: docker-credential-{helper}: exit status {code}: {text}"
        )


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
