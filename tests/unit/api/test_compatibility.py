"""docs/compatibility.md tells the truth: it is made of the tables, and they leave nothing out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from tests.unit.api.descriptions import description

SCRIPT = Path(__file__).resolve().parents[3] / "script" / "make_compatibility.py"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_compatibility", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_not_stale() -> None:
    made = script()
    assert made.TARGET.read_text(encoding="utf-8") == made.document(), (
        "run script/make_compatibility.py"
    )


def test_every_route_that_docker_describes_is_in_the_table() -> None:
    rows = "\n".join(script().api_rows())
    for path, methods in description("1.55")["paths"].items():
        for method in methods:
            assert f"| {method.upper()} | `{path}` |" in rows
