"""Who a user is at a registry, what it challenges us with, and the tokens that answer it.

Credentials go to the registry that they are for and to its token realm, never in clear text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from tiffin.core.reference import DEFAULT_DOMAIN
from tiffin.errors import RegistryMisbehaved
from tiffin.registry.messages import Conversation, Request, printable
from tiffin.registry.refusals import refusal
from tiffin.registry.trust import ClearText

TOKEN_LIFETIME_SECONDS = 60  # what the token specification says where the answer does not


@dataclass(frozen=True)
class Credentials:
    """A user's at one registry. An identity token replaces the password (OAuth2)."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:  # never a secret in a log
        return f"Credentials(username={self.username!r})"


class AuthConfig(Protocol):
    """Docker's AuthConfig, as api decodes it."""

    @property
    def username(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def identitytoken(self) -> str: ...


AuthSource = Credentials | AuthConfig | Mapping[str, AuthConfig] | str | None


def credentials_for(source: object, domain: str) -> Credentials | None:
    """What `source` has for the registry: credentials, an X-Registry-Auth header, an AuthConfig.

    A mapping (X-Registry-Config) is by registry. What cannot be read counts as none, as in Docker.
    """
    if isinstance(source, Mapping):
        source = next((source[name] for name in _names_of(domain) if name in source), None)
    if isinstance(source, Credentials):
        return source
    if isinstance(source, str):
        return decode_auth_header(source)
    values = [getattr(source, name, "") for name in ("username", "password", "identitytoken")]
    if not all(isinstance(value, str) for value in values) or not (values[0] or values[2]):
        return None
    return Credentials(*values)


def _names_of(domain: str) -> tuple[str, ...]:
    if domain == DEFAULT_DOMAIN:
        return ("https://index.docker.io/v1/", "index.docker.io", DEFAULT_DOMAIN)
    return (domain, f"https://{domain}", f"http://{domain}")


def decode_auth_header(text: str) -> Credentials | None:
    """X-Registry-Auth: base64url of JSON. None where it names nobody or cannot be read."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        document = msgspec.json.decode(raw, type=dict[str, Any]) if raw else {}
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return None
    values = [document.get(name) or "" for name in ("username", "password", "identitytoken")]
    if not all(isinstance(value, str) for value in values) or not (values[0] or values[2]):
        return None
    return Credentials(*values)


@dataclass(frozen=True)
class Challenge:
    """One of WWW-Authenticate: its scheme in lower case."""

    scheme: str
    parameters: Mapping[str, str]


_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][\w-]*)(?=\s+[\w.-]+\s*=|\s*$|\s*,)", re.ASCII)
_PARAMETER = re.compile(r'\s*,?\s*([\w.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.ASCII)


def parse_challenges(header: str) -> list[Challenge]:
    """All challenges of one header value (RFC 9110, 11.6.1). What cannot be read is left out."""
    challenges: list[Challenge] = []
    position = 0
    while match := _SCHEME.match(header, position):
        position = match.end()
        parameters: dict[str, str] = {}
        while found := _PARAMETER.match(header, position):
            quoted, bare = found[2], found[3]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            parameters[found[1].lower()] = value
            position = found.end()
        challenges.append(Challenge(match[1].lower(), parameters))
    return challenges


class Token(msgspec.Struct, frozen=True):
    """A bearer token and for how long it is good."""

    value: str
    lifetime_seconds: int


def basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def token(
    challenge: Challenge, scopes: tuple[str, ...], credentials: Credentials | None, clear: ClearText
) -> Conversation[Token]:
    """Ask the challenge's realm for a bearer token. Raises RegistryMisbehaved, RegistryError."""
    realm = challenge.parameters.get("realm", "")
    _check_realm(realm, clear)
    fields = [("service", challenge.parameters.get("service", ""))]
    if credentials and credentials.identity_token:
        fields += [
            ("client_id", "tiffin"),
            ("grant_type", "refresh_token"),
            ("refresh_token", credentials.identity_token),
            ("scope", " ".join(scopes)),
        ]
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = yield Request("POST", realm, headers, urlencode(fields).encode())
    else:
        fields += [("scope", scope) for scope in scopes]
        headers = {}
        if credentials and credentials.username:
            fields.append(("account", credentials.username))
            headers = {"Authorization": basic(credentials)}
        response = yield Request("GET", _with_query(realm, fields), headers)
    if not response.succeeded:
        raise refusal(response)
    return _decode_token(response.body)


def _check_realm(realm: str, clear: ClearText) -> None:
    parts = urlsplit(realm)
    address = parts.netloc.rpartition("@")[2]
    if parts.scheme == "https" and address:
        return
    if parts.scheme == "http" and address and clear.allows(address):
        return
    raise RegistryMisbehaved(f"refused to send credentials to token realm {printable(realm)!r}")


def _decode_token(body: bytes) -> Token:
    try:
        document: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise RegistryMisbehaved(f"unable to decode token response: {error}") from error
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise RegistryMisbehaved("authorization server did not include a token in the response")
    lifetime = document.get("expires_in")
    seconds = lifetime if isinstance(lifetime, int) and lifetime > 0 else TOKEN_LIFETIME_SECONDS
    return Token(value, seconds)


def _with_query(url: str, fields: list[tuple[str, str]]) -> str:
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True) + fields
    return urlunsplit(parts._replace(query=urlencode(query)))
