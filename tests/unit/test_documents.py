"""Pages that would go stale unnoticed: their links lead somewhere, their commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tiffin.cli.commands import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")],
    key=lambda page: page.relative_to(CHECKOUT),
)
LINK = re.compile(r"\]\(([^)#]+)\)")
COMMAND = re.compile(r"^(?:\$ )?tiffin ([a-z]+)(?: ([a-z]+))?", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    shown = "\n".join(re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    for first, second in COMMAND.findall(shown):
        assert first in COMMANDS or f"{first} {second}" in COMMANDS, f"tiffin {first} {second}"


def test_the_readme_shows_two_commands_that_exist() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    for script in ("script/demo", "script/test"):
        assert script in text
        assert (CHECKOUT / script).stat().st_mode & 0o111


def test_every_decision_is_in_the_index() -> None:
    folder = CHECKOUT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in folder.glob("0*.md") if f"({page.name})" not in index]
    assert missing == []


def test_architecture_names_every_room() -> None:
    text = (CHECKOUT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = [path.name for path in (CHECKOUT / "tiffin").iterdir() if path.is_dir()]
    missing = [room for room in rooms if room != "__pycache__" and f"`{room}/`" not in text]
    assert missing == []
