"""Who may import whom, read from the source: an upward or sideways import fails here."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "tiffin"

MAY_IMPORT = {
    "errors": set(),
    "core": {"errors"},
    "kernel": set(),
    "storage": {"core", "errors", "kernel"},
    "runtime": {"core", "errors", "kernel"},
    "network": {"core", "errors", "kernel"},
    "registry": {"core", "errors"},
    "build": {"core", "errors", "kernel.rootpath", "kernel.treecopy"},
    "engine": {"core", "errors", "kernel", "storage", "runtime", "network", "registry", "build"},
    "api": {"engine", "core", "errors"},
    "cli": {"core", "errors"},
    "configuration": {"core", "errors", "engine.settings", "cli.options", "cli.quantities"},
}
PURE_CORE_FORBIDS = {"os", "socket", "time", "random", "asyncio", "subprocess", "sqlite3"}
FORKED = [
    "zygote",
    "shim",
    "birth",
    "maker",
    "shimbirth",
    "standing",
    "closing",
    "building",
    "copying",
    "failure",
    "hired",
    "hiredmaker",
    "hooks",
    "mountwords",
    "program",
    "traits",
    "init",
    "launch",
    "rootfs",
    "operations",
    "targets",
    "labels",
    "users",
    "streams",
    "streamclients",
    "control",
    "execs",
    "waits",
    "loop",
    "logs",
    "logfile",
    "logmessages",
    "logsinks",
    "messages",
    "records",
    "rehearsal",
]
TOO_HEAVY_TO_FORK = {
    "asyncio",
    "sqlite3",
    "ssl",
    "h11",
    "httptools",
    "httpcore",
    "msgspec",
    "subprocess",
    "typing",
    "signal",
    "enum",
    "re",
    "collections",
    "contextlib",
}
TOO_RARE_TO_LOAD = {  # megabytes that a daemon does without until somebody wants them
    "ssl",
    "httpcore",
    "http",
    "email",
    "tarfile",
    "xml",
    "zstandard",
    "tiffin.build.solver",
    "tiffin.registry.transport",
}


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules() -> list[Path]:
    return sorted(
        path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.name == "errors.py"
    )


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_the_layers_below_it(path: Path) -> None:
    layer = layer_of(path)
    ours = {name.removeprefix("tiffin.") for name in imports_of(path) if name.startswith("tiffin.")}
    for name in ours:
        if name.split(".")[0] in (layer, "__version__") or _allowed(layer, name):
            continue
        if layer == "cli" and name.startswith("daemon"):
            continue  # `tiffin daemon` becomes the daemon
        pytest.fail(f"{path.relative_to(PACKAGE)} may not import tiffin.{name}")


def _allowed(layer: str, name: str) -> bool:
    return any(name == may or name.startswith(may + ".") for may in MAY_IMPORT[layer])


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*.py")), ids=lambda p: p.name)
def test_core_asks_no_machine(path: Path) -> None:
    tops = {name.split(".")[0] for name in imports_of(path)}
    assert not tops & PURE_CORE_FORBIDS


@pytest.mark.parametrize("module", FORKED)
def test_a_forked_module_stays_small(module: str) -> None:
    code = f"import sys, tiffin.runtime.{module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not set(loaded) & TOO_HEAVY_TO_FORK


def test_a_daemon_loads_what_is_rare_when_it_is_wanted() -> None:
    code = "import sys, tiffin.__main__ as m; m._load_asyncio(); import tiffin.daemon; "
    loaded = subprocess.run(
        [sys.executable, "-c", code + "print(*sys.modules)"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not set(loaded) & TOO_RARE_TO_LOAD


def test_who_talks_to_registries_has_tls_all_the_same() -> None:
    code = "import tiffin.__main__ as m; m._load_asyncio(); import tiffin.registry.transport as t; "
    command = [sys.executable, "-c", code + "t.ssl.create_default_context()"]
    subprocess.run(command, cwd=PACKAGE.parent, check=True)
