"""Image references: what a user types for an image, by the grammar of distribution/reference.

`parse` gives the normalised form: "busybox" is docker.io/library/busybox, "localhost:5000/web:1"
names its own domain. `str(reference)` is that full form, `.familiar()` what Docker shows. Docker's
words for what is wrong are part of the contract.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tiffin.core.image import is_digest
from tiffin.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
_LEGACY_DOMAIN = "index.docker.io"
_OFFICIAL = "library/"
_MAX_NAME_LENGTH = 255

_DOMAIN_COMPONENT = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_IPV6 = r"\[(?:[a-fA-F0-9:]+)\]"
_DOMAIN = rf"(?:{_DOMAIN_COMPONENT}(?:\.{_DOMAIN_COMPONENT})*|{_IPV6})(?::[0-9]+)?"
_PATH_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_PATH = rf"{_PATH_COMPONENT}(?:/{_PATH_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE = re.compile(
    rf"(?P<domain>{_DOMAIN})/(?P<path>{_PATH})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?",
    re.ASCII,
)
_TAG_ONLY = re.compile(_TAG, re.ASCII)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)


def is_registry(address: str) -> bool:
    """Whether that can be the host, and port, of a registry."""
    host, _, port = address.rpartition(":")
    in_range = not (host and port.isdecimal()) or 0 < int(port) < 65536
    return in_range and re.fullmatch(_DOMAIN, address) is not None


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference. `tag` and `digest` are "" where the user gave none."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The repository: "docker.io/library/busybox"."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        official = self.path.removeprefix(_OFFICIAL)
        if "/" not in official:
            return official
        # "0.0/x" would name a domain: such a path keeps its own in front.
        return self.name if _is_domain(self.path.partition("/")[0]) else self.path

    @property
    def normalised(self) -> str:
        return str(self)

    def familiar(self) -> str:
        return self.familiar_name + self._suffix()

    def tagged(self) -> Reference:
        """The same with `:latest`, if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """This repository under another tag. Raises InvalidArgument for what is no tag."""
        if not is_tag(tag):
            raise InvalidArgument("invalid tag format")
        return Reference(self.domain, self.path, tag)

    def with_digest(self, digest: str) -> Reference:
        return Reference(self.domain, self.path, digest=_checked_digest(digest))

    def repository(self) -> Reference:
        return Reference(self.domain, self.path)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse(text: str) -> Reference:
    """The normalised reference that `text` names. Raises InvalidArgument in Docker's words."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidArgument(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, remainder = _split_domain(text)
    remote = remainder.partition(":")[0]
    if remote != remote.lower():
        raise InvalidArgument(
            f"invalid reference format: repository name ({remote}) must be lowercase"
        )
    match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if match is None:
        raise InvalidArgument("invalid reference format")
    if len(match["path"]) > _MAX_NAME_LENGTH:
        raise InvalidArgument(
            f"repository name must not be more than {_MAX_NAME_LENGTH} characters"
        )
    digest = _checked_digest(match["digest"]) if match["digest"] else ""
    return Reference(match["domain"], match["path"], match["tag"] or "", digest)


def is_tag(text: str) -> bool:
    return _TAG_ONLY.fullmatch(text) is not None


def _split_domain(text: str) -> tuple[str, str]:
    """The first component is a domain only if it could be no repository: dot, port, upper case."""
    first, slash, rest = text.partition("/")
    domain, remainder = (first, rest) if slash and _is_domain(first) else (DEFAULT_DOMAIN, text)
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder


def _is_domain(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def _checked_digest(digest: str) -> str:
    if is_digest(digest):
        return digest
    if not digest.startswith("sha256:"):
        raise InvalidArgument("unsupported digest algorithm")
    if len(digest) != len("sha256:") + 64:
        raise InvalidArgument("invalid checksum digest length")
    raise InvalidArgument("invalid checksum digest format")
