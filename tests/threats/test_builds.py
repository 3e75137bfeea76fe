"""A build's context and Dockerfile, which came from outside."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.storage.archives import archive, file, symlink
from tiffin.build import context
from tiffin.errors import EngineFailure, InvalidArgument
from tiffin.kernel import rootpath
from tiffin.storage import jail, unpack

pytestmark = pytest.mark.root


@pytest.fixture
def received(tmp_path: Path) -> Iterator[int]:
    """A context whose Dockerfile and directories are links to the host's."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "secret").write_text("FROM secret\n")
    data = archive(
        symlink("Dockerfile", str(tmp_path / "host" / "secret")),
        symlink("out", "../host"),
        symlink("absolute", str(tmp_path / "host")),
        file("real", b"FROM scratch\n"),
    )
    root = tmp_path / "context"
    root.mkdir()
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    jail.unpack(io.BytesIO(data), fd, whiteouts=unpack.NAMES, owner=(0, 0))
    yield fd
    os.close(fd)


@pytest.mark.threat("build-context")
@pytest.mark.parametrize("name", ["Dockerfile", "out/secret", "absolute/secret", "../host/secret"])
def test_a_dockerfile_is_read_inside_its_context(
    received: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Dockerfile, or what COPY names, that is a link to a file of the host is sent to the
    builder as if it were the client's.

    Defence: the context is unpacked in the jail and read by paths that are resolved inside it.
    Seen to fail: read by its path, the host's file comes.
    """
    with pytest.raises((EngineFailure, InvalidArgument)):
        context.read_dockerfile(received, name)
    assert context.read_dockerfile(received, "real") == ("real", b"FROM scratch\n")

    def by_path(root: int, path: str, flags: int) -> int:
        return os.open(path, flags, dir_fd=root)

    monkeypatch.setattr(context.rootpath, "open_in", by_path)
    if not name.startswith(".."):  # that one is refused by its letters, before it is opened
        assert context.read_dockerfile(received, name)[1] == b"FROM secret\n"


@pytest.mark.threat("build-context")
@pytest.mark.parametrize("name", ["out", "absolute"])
def test_what_is_copied_from_a_context_is_the_contexts(
    received: int, name: str, tmp_path: Path
) -> None:
    """COPY out /: a directory of the context that is a link to one of the host.

    Defence: the source is opened inside the context.
    Seen to fail: opened by its path it is the host's, with the secret in it.
    """
    with pytest.raises(OSError, match="No such file"):
        os.close(rootpath.open_in(received, name, os.O_RDONLY | os.O_DIRECTORY))
    naive = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=received)
    assert os.listdir(naive) == ["secret"]
    os.close(naive)
