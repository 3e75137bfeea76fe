"""No module needs one that needs it: imports form layers, however late they are made."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "tiffin"


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def statements(node: ast.AST, *, for_types: bool) -> Iterator[ast.AST]:
    """Everything below `node`, without what only a type checker reads unless `for_types`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for each in (*(child.body if for_types else ()), *child.orelse):
                yield each
                yield from statements(each, for_types=for_types)
        else:
            yield child
            yield from statements(child, for_types=for_types)


def imported_by(path: Path, *, for_types: bool) -> set[str]:
    names: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8")), for_types=for_types):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= whole & MODULES.keys() or {node.module}
    return names & MODULES.keys() - {name_of(path)}


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: imported_by(path, for_types=False) for name, path in MODULES.items()}

    order = [*TopologicalSorter(graph).static_order()]  # CycleError names the circle

    assert len(order) == len(MODULES)


def test_the_command_line_has_no_circle_even_of_types() -> None:
    ours = {name: path for name, path in MODULES.items() if name.startswith("tiffin.cli.")}
    graph = {name: imported_by(path, for_types=True) & ours.keys() for name, path in ours.items()}

    order = [*TopologicalSorter(graph).static_order()]

    assert len(order) == len(ours)
