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
    assert (config.entrypoint, config.cmd) == (("e",), ("sh",))
    assert config.working_dir == "/w/x"
    assert config.exposed_ports == {"80/tcp": {}}


def test_a_document_wins_over_the_container() -> None:
    change = parse_changes([], {"Cmd": ["top"], "Env": ["A=3"], "User": None})

    config = change(CONFIG)

    assert (config.cmd, config.env) == (("top",), ("A=3",))


@pytest.mark.parametrize("line", ["RUN x", "COPY a b", "FROM x", "ARG x", "SHELL []", "FOO x"])
def test_what_is_no_change_is_refused(line: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a valid change command"):
        parse_changes([line])


def test_what_does_not_parse_is_refused_at_once() -> None:
    with pytest.raises(InvalidArgument, match="ENV"):
        parse_changes(["ENV"])
