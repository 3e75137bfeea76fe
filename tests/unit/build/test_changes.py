"""--change of commit and import."""

import pytest

from tiffin.build.changes import parse_changes
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument

CONFIG = ContainerConfig(env=("A=1",), cmd=("sh",), working_dir="/w")


def test_changes_are_applied_in_order() -> None:
    change = parse_changes(["ENV A=2 B=$A", 'ENTRYPOINT ["e"]', "WORKDIR x", "EXPOSE 80", ""])

    config = change(CONFIG)

    assert config.env is not None
    assert set(config.env) >= {"A=2", "B=1"}
    assert config.entrypoint == ("e",)
    assert config.working_dir == "/w/x"
    assert config.exposed_ports == {"80/tcp": {}}


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


@pytest.mark.parametrize("line", ["RUN x", "COPY a b", "FROM x", "ARG x", "SHELL []", "FOO x"])
def test_what_is_no_change_is_refused(line: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid change command"):
        parse_changes([line])


def test_what_does_not_parse_is_refused_at_once() -> None:
    with pytest.raises(InvalidArgument, match="ENV"):
        parse_changes(["ENV"])
