"""What the user set once for all commands: Docker's config.json, and DOCKER_DEFAULT_PLATFORM.

It fills in what a command line leaves open, before the command sees it: the format of lists, the
detach keys, the platform, the proxies that containers and builds are told of.
"""

from __future__ import annotations

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
    verb = {"image build": "build", "image pull": "pull", "image import": "import"}.get(verb, verb)
    values = arguments.values
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


def http_headers() -> dict[str, str]:
    """What is sent along with every request."""
    found = config_document().get("HttpHeaders")
    if not isinstance(found, dict):
        return {}
    clean = {str(name): str(value) for name, value in found.items()}
    return {
        name: value
        for name, value in clean.items()
        if name.lower() != "user-agent" and name.isascii() and value.isprintable()
    }
