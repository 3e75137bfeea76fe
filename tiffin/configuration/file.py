"""The configuration file: a JSON object of dockerd's keys, checked by name and type."""

from __future__ import annotations

import json
from typing import Any

from tiffin.configuration.keys import ABSENT, BY_NAME, GROUPED, SETTLED
from tiffin.core.proxies import masked
from tiffin.errors import InvalidArgument

_UNKNOWN = "the following directives don't match any configuration option"
_TWICE = "the following directives are specified both as a flag and in the configuration file"
_WORDS = {
    "string": "a string",
    "bool": "true or false",
    "int": "a whole number",
    "bytes": 'a number of bytes, or a string as "64m"',
    "list": "a list of strings",
    "map": "an object",
    "object": "an object",
}


def read_file(path: str) -> dict[str, Any]:
    """Its keys and values, groups opened. Raises InvalidArgument, also for what we refuse."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
        document = json.loads(text) if text.strip() else {}
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        raise InvalidArgument(f"open {path}: {words}") from error
    except ValueError as error:
        raise InvalidArgument(f"the file is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument("the file must hold a JSON object")
    found = dict(_opened(document))
    unknown = [key for key in found if key not in BY_NAME | SETTLED | ABSENT]
    if unknown:
        raise InvalidArgument(f"{_UNKNOWN}: {', '.join(sorted(unknown))}")
    for key, value in found.items():
        _check(key, value)
    return {key: value for key, value in found.items() if key in BY_NAME}


def _opened(document: dict[str, Any]) -> list[tuple[str, Any]]:
    found = []
    for key, value in document.items():
        if key not in GROUPED:
            found.append((key, value))
        elif not isinstance(value, dict):
            raise _mistyped(key, "object", value)
        else:
            wrong = [f"{key}.{inner}" for inner in value if inner not in GROUPED[key]]
            if wrong:
                raise InvalidArgument(f"{_UNKNOWN}: {', '.join(sorted(wrong))}")
            found += value.items()
    return found


def _check(key: str, value: Any) -> None:
    if key in ABSENT:
        raise InvalidArgument(f"{key} is not supported: {ABSENT[key]}")
    kind = BY_NAME[key].kind if key in BY_NAME else SETTLED[key][0]
    # Of a settled list each item is refused with the reason, whatever it is.
    fits = isinstance(value, list) if key in SETTLED and kind == "list" else _fits(kind, value)
    if not fits:
        raise _mistyped(key, kind, value)
    if key in SETTLED:
        check_settled(key, value)


def check_settled(key: str, value: Any) -> None:
    """Raises InvalidArgument unless `value` is how it is anyway."""
    kind, right, why = SETTLED[key]
    parts = value if kind == "list" else [value]
    if kind == "object":
        parts = [{name: setting} for name, setting in value.items()]
    # In Python True is 1: types were checked before.
    wrong = [part for part in parts if part not in right]
    if not wrong:
        return
    shown = json.dumps(wrong[0])
    raise InvalidArgument(f"{key}: {shown} is not supported: {why}")


def _fits(kind: str, value: Any) -> bool:
    if kind == "list":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "bytes":
        return isinstance(value, (str, int)) and not isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    types = {"bool": bool, "string": str, "map": dict, "object": dict}
    return isinstance(value, types[kind])


def _mistyped(key: str, kind: str, value: Any) -> InvalidArgument:
    return InvalidArgument(
        f"wrong type of value for {key}: {json.dumps(value)}: it must be {_WORDS[kind]}"
    )


def check_twice(flags: dict[str, Any], found: dict[str, Any]) -> None:
    """Raises InvalidArgument when a key comes from both places: neither is the obvious winner."""
    twice = [
        f"{key}: (from flag: {_shown(key, flags[key])}, from file: {_shown(key, found[key])})"
        for key in sorted(found)
        if key in flags
    ]
    if twice:
        raise InvalidArgument(f"{_TWICE}: {', '.join(twice)}")


def _shown(key: str, value: Any) -> str:
    words = _in_go(value)
    return masked(words) if key in GROUPED["proxies"] else words


def _in_go(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(_in_go(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_in_go(value[key])}" for key in sorted(value)) + "]"
    return str(value)
