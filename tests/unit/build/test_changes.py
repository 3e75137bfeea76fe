"""--change of commit and import."""

import pytest

from tiffin.build.changes import parse_changes
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument

CONFIG = ContainerConfig(env=("A=1",), cmd=("sh",), working_dir="/w")


def test_changes_are_applied_in_order() -> None:
    lines = ["ENV A=2 B=$A", 'ENTRYPOINT ["e"]', "CMD c", "WORKDIR x", "EXPOSE 80", ""]
    change = parse_changes(lines)

    config = change(CONFIG)

    assert config.env is not None
    assert set(config.env) >= {"A=2", "B=1"}
    assert config.entrypoint == ("e",)
    assert config.working_dir == "/w/x"
    assert config.exposed_ports == {"80/tcp": {}}
    assert not config.args_escaped


@pytest.mark.parametrize(
    ("lines", "entrypoint", "cmd"),
    [
        (['ENTRYPOINT ["e"]'], ("e",), None),  # what it had was the old entrypoint's
        (["CMD x", 'ENTRYPOINT ["e"]'], ("e",), ("/bin/sh", "-c", "x")),
        (['ENTRYPOINT ["e"]', 'CMD ["x"]'], ("e",), ("x",)),
        (["ENTRYPOINT []"], None, ("sh",)),
        (["CMD []"], None, ("sh",)),
        (["CMD"], None, ("/bin/sh", "-c")),
    ],
)
def test_an_entrypoint_silences_the_command_that_was_there(
    lines: list[str], entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None
) -> None:
    config = parse_changes(lines)(CONFIG)

    assert (config.entrypoint, config.cmd) == (entrypoint, cmd)


def test_a_trigger_is_kept() -> None:
    assert parse_changes(["ONBUILD RUN ls"], ContainerConfig(user="me"))(CONFIG).on_build == (
        "RUN ls",
    )


def test_a_document_wins_over_the_container() -> None:
    change = parse_changes([], ContainerConfig(cmd=("top",), env=("A=3",)))

    config = change(CONFIG)

    assert (config.cmd, config.env) == (("top",), ("A=3",))


def test_a_document_inherits_no_shell_and_no_time_to_stop() -> None:
    config = ContainerConfig(cmd=("sh",), shell=("/bin/bash", "-c"), stop_timeout=5)

    kept = parse_changes(["ENV A=1"])(config)
    lost = parse_changes([], ContainerConfig(cmd=("top",)))(config)

    assert (kept.shell, kept.stop_timeout) == (("/bin/bash", "-c"), 5)
    assert (lost.shell, lost.stop_timeout) == (None, None)


@pytest.mark.parametrize("lines", [[""], ["# a comment"], ["", " "]])
def test_changes_that_change_nothing_are_refused(lines: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="file with no instructions"):
        parse_changes(lines)


@pytest.mark.parametrize("line", ["RUN x", "COPY a b", "FROM x", "ARG x", "SHELL []", "FOO x"])
def test_what_is_no_change_is_refused(line: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid change command"):
        parse_changes([line])


def test_what_does_not_parse_is_refused_at_once() -> None:
    with pytest.raises(InvalidArgument, match="ENV"):
        parse_changes(["ENV"])
