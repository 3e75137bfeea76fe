"""Answers checked against the Engine API's OpenAPI 2 descriptions, as far as shape goes.

Go writes a nil list or map as null, so null is right for any array and object.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[3].parent / "shared" / "reference"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


# Pointers in Docker's own types: null from a real dockerd too, whatever the description says.
_POINTERS = ("ExitCode", "MemorySwappiness", "OomKillDisable")
# What we say beyond Docker, and what Docker says beyond its description (events, up to 1.51).
_BEYOND = (".Verdict", "$.pressure_stats", "$.status", "$.id", "$.from")


@cache
def description(version: str) -> dict[str, Any]:
    path = FOLDER / f"engine-api-v{version}.yaml"
    if not path.exists():
        pytest.skip(f"the API description {path.name} is not here")
    with open(path, encoding="utf-8") as file:
        loaded: dict[str, Any] = yaml.load(file, _LOADER)
    return loaded


def check_answer(version: str, method: str, path: str, status: int, value: Any) -> None:
    """`path` is the description's: "/containers/{id}/json". Fails with each place that is wrong."""
    answer = description(version)["paths"][path][method.lower()]["responses"][status]
    problems = problems_of(version, answer["schema"], value)
    assert not problems, "\n".join(problems)


def problems_of(version: str, schema: dict[str, Any], value: Any) -> list[str]:
    """Each place of `value` that is not as the schema says."""
    return _problems(description(version), schema, value, "$")


def _problems(document: dict[str, Any], schema: dict[str, Any], value: Any, at: str) -> list[str]:
    schema = resolved(document, schema)
    kind = schema.get("type", "object" if "properties" in schema else "")
    if value is None:
        fine = schema.get("x-nullable") or kind in ("array", "object", "")
        fine = fine or at.endswith(_POINTERS)
        return [] if fine else [f"{at}: null is no {kind}"]
    expected = _TYPES.get(kind)
    if expected and (not isinstance(value, expected) or (kind == "integer" and value is True)):
        return [f"{at}: {value!r} is no {kind}"]
    if kind == "array":
        items = schema.get("items", {})
        return [
            problem
            for place, item in enumerate(value)
            for problem in _problems(document, items, item, f"{at}[{place}]")
        ]
    if kind == "object":
        return _object_problems(document, schema, value, at)
    choices = schema.get("enum")
    return [f"{at}: {value!r} is none of {choices}"] if choices and value not in choices else []


def _object_problems(
    document: dict[str, Any], schema: dict[str, Any], value: dict[str, Any], at: str
) -> list[str]:
    properties = schema.get("properties", {})
    problems = [f"{at}.{name}: missing" for name in schema.get("required", ()) if name not in value]
    extra = schema.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            problems += _problems(document, properties[name], item, f"{at}.{name}")
        elif isinstance(extra, dict):
            problems += _problems(document, extra, item, f"{at}.{name}")
        elif properties and not extra and not f"{at}.{name}".endswith(_BEYOND):
            problems.append(f"{at}.{name}: not described")
    return problems


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = {
            **document["definitions"][name],
            **{key: item for key, item in schema.items() if key != "$ref"},
        }
    if "allOf" not in schema:
        return schema
    merged = {key: item for key, item in schema.items() if key != "allOf"}
    merged["properties"] = dict(schema.get("properties", {}))
    for part in schema["allOf"]:
        whole = resolved(document, part)
        merged["properties"] |= whole.get("properties", {})
        merged.setdefault("type", whole.get("type", ""))
        merged["required"] = [*merged.get("required", ()), *whole.get("required", ())]
    return merged
