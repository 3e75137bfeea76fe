"""What an instruction makes of a stage."""

from typing import Any

import pytest

from tiffin.build.actions import CopyFiles, MakeDirectory, RunCommand
from tiffin.build.dockerfile import parse_instructions
from tiffin.build.state import Outcome, Scope, StageState, evaluate, exposed_ports, initial_state
from tiffin.core.image import ContainerConfig
from tiffin.errors import InvalidArgument, Unsupported

BASE = ContainerConfig(env=("PATH=/bin", "HOME=/root"), cmd=("base",), working_dir="/srv")


NOTHING = Scope()


def run(*lines: str, scope: Scope = NOTHING, base: ContainerConfig | None = BASE) -> Outcome:
    state: StageState = initial_state(base)
    for line in lines:
        (instruction,) = parse_instructions([line])
        outcome = evaluate(instruction, state, scope)
        state = outcome.state
    return outcome


def action(*lines: str, **options: Any) -> Any:
    return run(*lines, **options).action


def test_scratch_has_a_path_and_a_working_directory() -> None:
    config = initial_state(None).config

    assert config.env == ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",)
    assert config.working_dir == "/"


def test_env_sees_the_values_from_before_its_own_line() -> None:
    outcome = run("ENV abc=hello", "ENV abc=bye def=$abc")

    assert outcome.state.config.env == ("PATH=/bin", "HOME=/root", "abc=bye", "def=hello")
    assert outcome.created_by == "ENV abc=bye def=hello"


def test_an_argument_reaches_run_but_not_the_config() -> None:
    outcome = run("ARG V=1", "RUN x", scope=Scope(build_args={"V": "2"}))

    assert isinstance(outcome.action, RunCommand)
    assert "V=2" in outcome.action.env
    assert "V=2" not in (outcome.state.config.env or ())
    assert outcome.created_by == "RUN |1 V=2 /bin/sh -c x # buildkit"


def test_an_argument_without_default_takes_the_one_before_from() -> None:
    assert "V=9" in action("ARG V", "RUN x", scope=Scope(global_args={"V": "9"})).env


def test_an_undeclared_build_argument_does_nothing() -> None:
    assert not any(
        e.startswith("V=") for e in action("RUN x", scope=Scope(build_args={"V": "2"})).env
    )


def test_shell_forms_use_the_shell_of_the_moment() -> None:
    outcome = run('SHELL ["/bin/bash", "-ec"]', "CMD a b")

    assert outcome.state.config.cmd == ("/bin/bash", "-ec", "a b")
    assert outcome.created_by == 'CMD ["/bin/bash" "-ec" "a b"]'


def test_entrypoint_drops_the_base_command_but_not_the_stages() -> None:
    assert run('ENTRYPOINT ["e"]').state.config.cmd is None
    assert run('CMD ["c"]', 'ENTRYPOINT ["e"]').state.config.cmd == ("c",)


def test_workdir_is_relative_to_the_last_and_belongs_to_the_user() -> None:
    outcome = run("USER app", "WORKDIR a/../b")

    assert outcome.action == MakeDirectory("/srv/b", "app")
    assert outcome.state.config.working_dir == "/srv/b"
    assert run("WORKDIR /").action is None


def test_copy_is_resolved_against_the_working_directory() -> None:
    copy = action("ENV N=x", "COPY --chown=$N:y --chmod=640 $N.txt sub/")

    assert copy == CopyFiles(
        instruction="COPY",
        sources=("x.txt",),
        inline=(),
        destination="/srv/sub/",
        owner="x:y",
        mode="640",
    )


@pytest.mark.parametrize(
    ("destination", "resolved"),
    [(".", "/srv/"), ("/", "/"), ("/a//b/../c", "/a/c"), ("/x/.", "/x/"), ("../../..", "/")],
)
def test_a_destination_keeps_the_slash_that_makes_it_a_directory(
    destination: str, resolved: str
) -> None:
    assert action(f"COPY a {destination}").destination == resolved


def test_a_heredoc_copy_expands_unless_its_word_is_quoted() -> None:
    expanded = action("COPY <<A <<'B' /d/\n$HOME \"q\"\nA\n$HOME\nB")

    assert [document.body for document in expanded.inline] == ['/root "q"\n', "$HOME\n"]


def test_run_heredocs_become_the_command_or_a_script() -> None:
    assert action("RUN <<E\necho $x\nE").argv == ("/bin/sh", "-c", "echo $x\n")
    assert action("RUN cat <<E > /f\n$x\nE").argv[2] == "cat <<E > /f\n$x\nE"
    script = action("RUN <<E\n#!/bin/env python\nE")
    assert script.argv == ("/bin/sh", "-c", "/dev/pipes/E")
    assert script.script.body == "#!/bin/env python\n"


def test_expose_volume_label_and_the_rest_end_in_the_config() -> None:
    config = run(
        "ENV P=80",
        "EXPOSE $P 53/UDP 100-102",
        'VOLUME ["/a", "/b"]',
        "LABEL k='v w'",
        "STOPSIGNAL SIGINT",
        "HEALTHCHECK NONE",
        "ONBUILD RUN x",
    ).state.config

    assert set(config.exposed_ports or {}) == {"80/tcp", "53/udp", "100/tcp", "101/tcp", "102/tcp"}
    assert (config.volumes, config.labels) == ({"/a": {}, "/b": {}}, {"k": "v w"})
    assert (config.stop_signal, config.on_build) == ("SIGINT", ("RUN x",))
    assert config.healthcheck is not None


def test_a_health_check_is_written_into_the_history_as_go_prints_it() -> None:
    assert run("HEALTHCHECK --interval=90s CMD curl").created_by == (
        "HEALTHCHECK {Test:[CMD-SHELL curl] Interval:1m30s Timeout:0s StartPeriod:0s "
        "StartInterval:0s Retries:0}"
    )


def test_a_port_with_a_host_part_counts_by_its_container_part() -> None:
    assert exposed_ports("127.0.0.1:8080:80/tcp") == ["80/tcp"]


@pytest.mark.parametrize("text", ["abc", "70000", "9-1", "x/xyz", "", "-1"])
def test_a_bad_port_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid containerPort"):
        exposed_ports(text)


def test_a_protocol_that_is_none_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidArgument, match="invalid proto: xyz"):
        exposed_ports("80/XYZ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RUN --mount=type=cache,target=/x y", "RUN --mount"),
        ("RUN --security=insecure y", "RUN --security=insecure"),
        ("COPY --parents a b", "COPY --parents"),
        ("ADD https://example.com/x /", "ADD of a URL"),
        ("ADD --checksum=sha256:0 a b", "ADD --checksum"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(line: str, words: str) -> None:
    with pytest.raises(Unsupported, match=words):
        run(line)


@pytest.mark.parametrize(
    "line", ["COPY --chmod=888 a b", "COPY --chmod=u+q a b", "STOPSIGNAL NOPE", "COPY http://x/y b"]
)
def test_what_is_wrong_is_refused(line: str) -> None:
    with pytest.raises(InvalidArgument):
        run(line)
