"""A create request over an image's defaults."""

from __future__ import annotations

import pytest

from tiffin.core.image import ContainerConfig
from tiffin.core.merge import check_environment, merge, merge_environment
from tiffin.errors import InvalidArgument
from tiffin.runtime.spec import environment

IMAGE = ContainerConfig(
    entrypoint=("/entry",),
    cmd=("serve",),
    env=("PATH=/bin", "MODE=a"),
    working_dir="/app",
    user="web",
    labels={"a": "1", "b": "2"},
    exposed_ports={"80/tcp": {}},
)


@pytest.mark.parametrize(
    ("user", "argv"),
    [
        (ContainerConfig(), ("/entry", "serve")),
        (ContainerConfig(cmd=("test",)), ("/entry", "test")),
        (ContainerConfig(entrypoint=("/other",)), ("/other",)),
        (ContainerConfig(entrypoint=("/other",), cmd=("x",)), ("/other", "x")),
        (ContainerConfig(entrypoint=("",), cmd=("x",)), ("x",)),
        (ContainerConfig(entrypoint=()), ("serve",)),  # an empty list silences the entrypoint alone
        (ContainerConfig(entrypoint=(), cmd=()), ("serve",)),
        (ContainerConfig(entrypoint=(), cmd=("x",)), ("x",)),
    ],
)
def test_a_given_entrypoint_silences_the_images_command(
    user: ContainerConfig, argv: tuple[str, ...]
) -> None:
    merged = merge(user, IMAGE)
    assert (merged.entrypoint or ()) + (merged.cmd or ()) == argv


def test_environment_and_labels_merge_by_key() -> None:
    merged = merge(ContainerConfig(env=("MODE=b", "NEW=1"), labels={"b": "3"}), IMAGE)
    assert merged.env == ("MODE=b", "NEW=1", "PATH=/bin")  # as Docker shows them
    assert merged.labels == {"a": "1", "b": "3"}


def test_a_bare_key_unsets_what_the_image_sets() -> None:
    merged = merge_environment(("A=1", "B=2"), ("A",))
    assert merged == ("A", "B=2")  # as `inspect` shows it in Docker
    assert not any(entry.startswith("A") for entry in environment(merged, "box", tty=False))


def test_what_is_not_given_comes_from_the_image() -> None:
    merged = merge(ContainerConfig(exposed_ports={"81/tcp": {}}), IMAGE)
    assert (merged.user, merged.working_dir) == ("web", "/app")
    assert set(merged.exposed_ports or {}) == {"80/tcp", "81/tcp"}


@pytest.mark.parametrize("entry", ["", "=x", "A=\0"])
def test_bad_environment_is_refused(entry: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid environment variable"):
        check_environment((entry,))


def test_triggers_are_the_containers_own_and_never_the_images() -> None:
    image = ContainerConfig(on_build=("RUN image",))
    assert merge(ContainerConfig(), image).on_build is None
    assert merge(ContainerConfig(on_build=("RUN own",)), image).on_build == ("RUN own",)
