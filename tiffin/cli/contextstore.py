"""Contexts on disk, in the docker CLI's own format and place, so that both share them.

contexts/meta/<sha256 of the name>/meta.json
contexts/tls/<sha256 of the name>/docker/{ca,cert,key}.pem
"""

from __future__ import annotations

import os
import shutil

from tiffin.cli.failures import CommandFailed
from tiffin.cli.hosts import DEFAULT_HOST, Target, TlsFiles, whole_host
from tiffin.cli.jsontext import decode, show
from tiffin.cli.surroundings import config_directory, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Document = dict[str, Any]

TLS_FILES = ("ca.pem", "cert.pem", "key.pem")
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def check_name(name: str) -> None:
    if not name:
        raise CommandFailed("context name cannot be empty")
    if name == "default":
        raise CommandFailed('"default" is a reserved context name')
    if len(name) < 2 or name[0] not in _LETTERS or name.strip(_LETTERS + "_.+-"):
        raise CommandFailed(
            f'context name "{name}" is invalid, names are validated against regexp '
            '"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"'
        )


class ContextStore:
    def __init__(self) -> None:
        self.root = f"{config_directory()}/contexts"

    def meta_directory(self, name: str) -> str:
        return f"{self.root}/meta/{_digest(name)}"

    def tls_directory(self, name: str) -> str:
        return f"{self.root}/tls/{_digest(name)}"

    def names(self) -> list[str]:
        """All but `default`, sorted as people sort."""
        from tiffin.cli.sorting import natural

        try:
            folders = os.listdir(f"{self.root}/meta")
        except OSError:
            return []
        found = []
        for folder in folders:
            try:
                document = _document(f"{self.root}/meta/{folder}/meta.json")
            except (OSError, ValueError):
                continue
            if isinstance(document.get("Name"), str):
                found.append(document["Name"])
        return sorted(found, key=natural)

    def exists(self, name: str) -> bool:
        return os.path.isfile(f"{self.meta_directory(name)}/meta.json")

    def get(self, name: str) -> Document:
        """Its metadata. CommandFailed when it is not there or makes no sense."""
        path = f"{self.meta_directory(name)}/meta.json"
        try:
            return _document(path)
        except OSError as error:
            words = (error.strerror or "").lower()
            raise CommandFailed(
                f'context "{name}": context not found: open {path}: {words}'
            ) from error
        except ValueError as error:
            raise CommandFailed(f'context "{name}": parsing {path}: {error}') from error

    def put(self, name: str, document: Document, tls: dict[str, bytes] | None) -> None:
        """TLS material as given; None leaves what is there."""
        directory = self.meta_directory(name)
        os.makedirs(directory, 0o755, exist_ok=True)
        _write(f"{directory}/meta.json", show(document).encode(), 0o644)
        if tls is None:
            return
        folder = self.tls_directory(name)
        shutil.rmtree(folder, ignore_errors=True)
        if tls:
            os.makedirs(f"{folder}/docker", 0o700)
            os.chmod(folder, 0o700)
        for file, data in tls.items():
            _write(f"{folder}/docker/{file}", data, 0o600)

    def remove(self, name: str) -> None:
        shutil.rmtree(self.meta_directory(name), ignore_errors=True)
        shutil.rmtree(self.tls_directory(name), ignore_errors=True)

    def tls_files(self, name: str) -> list[str]:
        try:
            return sorted(os.listdir(f"{self.tls_directory(name)}/docker"))
        except OSError:
            return []

    def tls(self, name: str) -> dict[str, bytes]:
        folder = f"{self.tls_directory(name)}/docker"
        return {file: read_file(f"{folder}/{file}") for file in self.tls_files(name)}

    def target(self, name: str) -> Target:
        """CommandFailed in Docker's words when there is no such context."""
        try:
            document = self.get(name)
        except CommandFailed as error:
            raise CommandFailed(
                f"Failed to initialize: unable to resolve docker endpoint: {error.message}"
            ) from error
        endpoint = endpoint_of(document)
        files = self.tls_files(name)
        folder = f"{self.tls_directory(name)}/docker"
        skip = bool(endpoint.get("SkipTLSVerify"))
        paths = [f"{folder}/{file}" if file in files else "" for file in TLS_FILES]
        tls = TlsFiles(*paths, verify=not skip) if files or skip else None
        host = endpoint.get("Host") or DEFAULT_HOST
        return Target(whole_host(host), tls, named=True, context=name)


def endpoint_of(document: Document) -> Document:
    found = (document.get("Endpoints") or {}).get("docker")
    return found if isinstance(found, dict) else {}


def _digest(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()


def _document(path: str) -> Document:
    document = decode(read_file(path))
    if isinstance(document, dict):
        return document
    raise ValueError("not an object")


def _write(path: str, data: bytes, mode: int) -> None:
    """Whole or not at all."""
    partial = f"{path}.{os.getpid()}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
    os.rename(partial, path)
