"""docs/security.md tells the truth: it is made of the tests, and no threat is left without one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[2] / "script" / "make_security.py"

# What has been done to engines of this kind: each has at least one test.
THREATS = frozenset(
    """
    own-program leaked-descriptors keyrings imports-inside mount-target kernel-file-systems masks
    forged-procfs read-only-below host-mounts copy-paths copy-helpers layer-paths
    overlay-attributes bombs digests ambiguous-documents load-archives build-context image-users
    inert-labels volumes capabilities no-new-privileges devices masked-paths kernel-switches
    cgroup-escape sysctls root-is-nobody id-ranges system-calls fork-bombs memory rlimits disk
    limits-of-nonsense execs unasked-ipv6 own-network injected-lines names-as-paths
    reachable-sockets browsers hostile-requests checkpoints slow-readers hung-files large-bodies
    deep-images want
    """.split()
)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_security", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_page_is_not_stale() -> None:
    made = script()

    assert made.TARGET.read_text(encoding="utf-8") == made.document(), "run script/make_security.py"


def test_every_threat_has_a_test_and_every_test_a_known_threat() -> None:
    made = script()
    found = {row.key for path in made.TESTS.glob("test_*.py") for row in made.rows(path)}

    assert found == THREATS


def test_every_module_of_threats_is_on_the_page() -> None:
    made = script()

    assert {path.stem for path in made.TESTS.glob("test_*.py")} == set(made.TITLES)
