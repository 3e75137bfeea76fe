"""What a step's key depends on, and what not."""

from dataclasses import replace

from tiffin.build.actions import CopyFiles, RunCommand
from tiffin.build.keys import action_key, config_key

RUN = RunCommand(("sh", "-c", "x"), ("A=1", "B=2"), "/", "", "default", shown="x")
COPY = CopyFiles("COPY", ("a.txt",), (), "/d/")


def key(action: RunCommand | CopyFiles, parent: str | None = "p", *sources: str) -> str:
    return action_key(parent, action, sources=sources).value


def test_the_order_of_the_environment_does_not_count() -> None:
    assert key(RUN) == key(replace(RUN, env=("B=2", "A=1")))


def test_parent_command_environment_user_and_directory_count() -> None:
    others = [
        key(RUN, "q"),
        key(RUN, None),
        key(replace(RUN, argv=("sh", "-c", "y"))),
        key(replace(RUN, env=("A=1",))),
        key(replace(RUN, user="app")),
        key(replace(RUN, working_dir="/w")),
        key(replace(RUN, network="none")),
    ]

    assert len({key(RUN), *others}) == len(others) + 1


def test_a_copy_counts_by_what_it_copies_not_by_where_that_was() -> None:
    assert key(COPY, "p", "d1") == key(replace(COPY, sources=("b/a.txt",)), "p", "d1")
    assert key(COPY, "p", "d1") != key(COPY, "p", "d2")
    assert key(COPY, "p", "d1", "d2") != key(COPY, "p", "d1d2")


def test_settings_of_the_build_count() -> None:
    assert action_key("p", RUN, settings="x").value != action_key("p", RUN).value


def test_a_config_step_depends_on_parent_and_config() -> None:
    assert config_key("p", "ENV", b"{}").value != config_key("q", "ENV", b"{}").value
    assert "kind: config" in config_key("p", "ENV", b"{}").describe()
