"""Image names: Docker's short forms and what they stand for. Knows no registry.

The engine has its own, complete parser; this one is small enough to start with, and refuses what
that would refuse, in the same words.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_TAG = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")


class Name:
    """`repository` is complete: docker.io/library/busybox. Tag and digest may be empty."""

    def __init__(self, repository: str, tag: str = "", digest: str = ""):
        self.repository = repository
        self.tag = tag
        self.digest = digest

    @property
    def domain(self) -> str:
        return self.repository.partition("/")[0]

    @property
    def familiar(self) -> str:
        short = self.repository.removeprefix("docker.io/")
        return short.removeprefix("library/") + self._suffix()

    def __str__(self) -> str:
        return self.repository + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")


def parse_name(text: str) -> Name:
    """CommandFailed where it is no name."""
    rest, at, digest = text.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, colon, tag = rest, "", ""
    first, slash, path = head.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        domain = "docker.io" if first == "index.docker.io" else first
    else:
        domain, path = "docker.io", head
    if domain == "docker.io" and "/" not in path:
        path = f"library/{path}"
    right_tag = not tag or (not set(tag) - _TAG and len(tag) < 129 and tag[0] not in ".-")
    if not head or (colon and not tag) or not right_tag or (at and not _is_digest(digest)):
        raise CommandFailed("invalid reference format")
    if path.lower() != path:
        raise CommandFailed(f"invalid reference format: repository name ({path}) must be lowercase")
    if not all(_is_component(part) for part in path.split("/")):
        raise CommandFailed("invalid reference format")
    return Name(f"{domain}/{path}", tag, digest)


def _is_component(part: str) -> bool:
    if not part or part[0] not in _LETTERS or part[-1] not in _LETTERS:
        return False
    return not set(part) - _LETTERS - set("._-") and "..." not in part and "___" not in part


def _is_digest(text: str) -> bool:
    algorithm, colon, digits = text.partition(":")
    lengths = {"sha256": 64, "sha384": 96, "sha512": 128}
    return (
        bool(colon)
        and len(digits) == lengths.get(algorithm)
        and not digits.strip("0123456789abcdef")
    )
