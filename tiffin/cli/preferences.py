"""What the user set once for all commands: Docker's config.json, and DOCKER_DEFAULT_PLATFORM.

It fills in what a command line leaves open, before the command sees it: the format of lists, the
detach keys, the platform, the proxies that containers and builds are told of.
"""

from __future__ import annotations

from tiffin.cli.failures import CommandFailed
from tiffin.cli.surroundings import config_document, environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tiffin.cli.options import Arguments

# Verb, without the group it may be typed with -> the key that has its format.
_FORMATS = {
    "ps": "psFormat",
    "ls": "psFormat",
    "list": "psFormat",
    "stats": "statsFormat",
    "images": "imagesFormat",
    "image ls": "imagesFormat",
    "image list": "imagesFormat",
    "network ls": "networksFormat",
    "network list": "networksFormat",
    "volume ls": "volumesFormat",
    "volume list": "volumesFormat",
}
_DETACHING = frozenset(("attach", "exec", "run", "start"))
_PLATFORMS = frozenset(("build", "create", "import", "pull", "run"))
_TRUSTED = frozenset(("build", "create", "pull", "push", "run"))
_PROXIES = (
    ("HTTP_PROXY", "httpProxy"),
    ("HTTPS_PROXY", "httpsProxy"),
    ("NO_PROXY", "noProxy"),
    ("FTP_PROXY", "ftpProxy"),
    ("ALL_PROXY", "allProxy"),
)


def fill_in(name: str, arguments: Arguments, host: str) -> None:
    """Adds to `arguments` what the command `name` was not told."""
    verb = name.removeprefix("container ").removeprefix("builder ")
    image_verb = verb.removeprefix("image ")
    verb = image_verb if image_verb in _TRUSTED or image_verb == "import" else verb
    values = arguments.values
    if verb in _TRUSTED and "disable-content-trust" not in values and _trust_is_asked_for():
        raise CommandFailed(
            "there is no content trust: unset DOCKER_CONTENT_TRUST, or say --disable-content-trust",
            125 if verb == "run" else 1,
        )
    if verb in _PLATFORMS and (platform := environment("DOCKER_DEFAULT_PLATFORM")):
        values.setdefault("platform", platform)
    config = config_document()
    if not config:
        return
    key = _FORMATS.get(verb)
    if key and config.get(key) and not values.get("quiet") and not values.get("format"):
        values["format"] = str(config[key])
    if verb in _DETACHING and config.get("detachKeys"):
        values.setdefault("detach-keys", str(config["detachKeys"]))
    if verb in ("run", "create"):
        _add_proxies(values, "env", config, host)
    elif verb == "build":
        _add_proxies(values, "build-arg", config, host)


def _add_proxies(values: dict[str, Any], option: str, config: dict[str, Any], host: str) -> None:
    """In both spellings, each unless it was given."""
    settings = config.get("proxies") or {}
    chosen = settings.get(host) or settings.get("default") or {}
    if not chosen:
        return
    given = values.get(option) or []
    named = {str(text).partition("=")[0] for text in given}
    added = [
        f"{spelling}={chosen[key]}"
        for name, key in _PROXIES
        if chosen.get(key)
        for spelling in (name, name.lower())
        if spelling not in named
    ]
    if added:
        values[option] = [*added, *given]


def _trust_is_asked_for() -> bool:
    """Docker's rule: whatever is no word for no."""
    asked = environment("DOCKER_CONTENT_TRUST")
    return bool(asked) and asked not in ("0", "f", "F", "FALSE", "false", "False")


def _custom_headers(text: str) -> dict[str, str]:
    """`name=value,...`. CommandFailed as Docker's CLI fails."""
    if not text:
        return {}
    from tiffin.cli.mounts import split_fields

    found = {}
    try:
        for field in split_fields(text):
            name, equals, value = field.partition("=")
            if not equals:
                raise ValueError(f"missing \"=\" in key=value pair: '{field}'")
            if not name.strip():
                raise ValueError(f"invalid key=value pair: key is empty: '{field}'")
            found[name.strip()] = value
    except ValueError as error:
        raise CommandFailed(
            "Failed to initialize: failed to set custom headers from DOCKER_CUSTOM_HEADERS "
            f"environment variable: {error}"
        ) from error
    return found


def http_headers() -> dict[str, str]:
    """What is sent along with every request."""
    found = config_document().get("HttpHeaders")
    given = found if isinstance(found, dict) else {}
    clean = {str(name): str(value) for name, value in given.items()}
    clean |= _custom_headers(environment("DOCKER_CUSTOM_HEADERS") or "")
    return {
        name: value
        for name, value in clean.items()
        if name.lower() != "user-agent" and name.isascii() and value.isprintable()
    }
