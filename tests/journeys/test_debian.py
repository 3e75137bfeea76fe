"""A real distribution inside: packages are installed, file capabilities hold, a database works.

The base is made of Debian's packages; the package that is installed in it comes from a repository
that the test serves on the daemon's own bridge.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveDaemon
from tests.patience import patient

pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]  # packages come from wherever they are

PACKAGE = "tiffin-lunch"
CONTROL = f"""Package: {PACKAGE}
Version: 1.0
Architecture: all
Maintainer: Nobody <nobody@localhost>
Description: a program and a user's file
"""
POSTINST = """#!/bin/sh
set -e
chown www-data:www-data /usr/share/tiffin-lunch
chmod 2755 /usr/share/tiffin-lunch
"""
# VFS_CAP_REVISION_2 with the effective bit; permitted: CAP_NET_RAW.
NET_RAW = "0100000200200000000000000000000000000000"
WRITER = """
import sqlite3
database = sqlite3.connect("/data/rows.db", isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("CREATE TABLE rows (number INTEGER)")
number = 0
while True:
    database.execute("INSERT INTO rows VALUES (?)", (number,))
    number += 1
    if number == 200:
        print("enough", flush=True)
"""
READER = """
import sqlite3
database = sqlite3.connect("/data/rows.db")
print(database.execute("PRAGMA integrity_check").fetchone()[0])
count, last = database.execute("SELECT COUNT(*), MAX(number) FROM rows").fetchone()
print(count >= 200, count == last + 1)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's smallest, with apt and Python."""
    release = Path("/etc/os-release").read_text()
    suite = release.partition("VERSION_CODENAME=")[2].partition("\n")[0]
    target = tmp_path_factory.mktemp("debian") / "base.tar"
    command = ["mmdebstrap", "--quiet", "--variant=apt", "--include=python3"]
    command += ["--dpkgopt=force-unsafe-io", suite, str(target)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no Debian can be made here: {made.stderr[-300:]}")
    return target


@pytest.fixture(scope="module")
def daemon(base: Path) -> Iterator[LiveDaemon]:
    live = LiveDaemon()
    with live:
        live.docker("import", str(base), "debian:test")
        base.unlink()
        yield live
    assert live.leaks() == []


@pytest.fixture(scope="module")
def repository(daemon: LiveDaemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an apt repository with PACKAGE in it, for containers only."""
    directory = tmp_path_factory.mktemp("repository")
    make_repository(directory)
    handler = functools.partial(Quiet, directory=str(directory))
    server = http.server.ThreadingHTTPServer((f"{daemon.subnet}.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://{daemon.subnet}.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


def make_repository(directory: Path) -> None:
    tree = directory / "tree"
    program = tree / "usr/bin/tiffin-lunch"
    for path in (tree / "DEBIAN", program.parent, tree / "usr/share/tiffin-lunch"):
        path.mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL)
    (tree / "DEBIAN/postinst").write_text(POSTINST)
    (tree / "DEBIAN/postinst").chmod(0o755)
    program.write_text("#!/bin/sh\necho dal and rice\n")
    program.chmod(0o755)
    package = directory / f"{PACKAGE}.deb"
    subprocess.run(["dpkg-deb", "-b", "-Zgzip", tree, package], check=True, capture_output=True)
    shutil.rmtree(tree)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    size = package.stat().st_size
    entry = f"{CONTROL}Filename: ./{package.name}\nSize: {size}\nSHA256: {digest}\n"
    (directory / "Packages").write_text(entry)


def test_packages_are_installed_in_a_build(
    daemon: LiveDaemon, repository: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:test\n"
        f'RUN echo "deb [trusted=yes] {repository} ./" > /etc/apt/sources.list '
        "&& rm -rf /etc/apt/sources.list.d /etc/apt/apt.conf.d/*proxy* "
        f"&& apt-get update && apt-get install -y {PACKAGE}\n"
        f"RUN {PACKAGE} && stat -c '%U:%G %a' /usr/share/{PACKAGE}\n"
    )
    built = daemon.docker("build", "-t", "lunch", str(tmp_path), timeout=patient(300))
    assert "dal and rice" in built.stdout
    assert "www-data:www-data 2755" in built.stdout
    again = daemon.docker("build", str(tmp_path)).stdout
    assert again.count("Using cache") == 2
    status = daemon.docker("run", "--rm", "lunch", "dpkg-query", "-Wf", "${Status}", PACKAGE)
    assert status.stdout == "install ok installed"


def test_capabilities_of_files_in_an_image_hold_for_an_ordinary_user(
    daemon: LiveDaemon, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:test\n"
        "RUN cp $(readlink -f /usr/bin/python3) /usr/bin/raw\n"
        'RUN ["python3", "-c", "import os; os.setxattr(\'/usr/bin/raw\', '
        f"'security.capability', bytes.fromhex('{NET_RAW}'))\"]\n"
        "USER www-data\n"
    )
    daemon.docker("build", "-t", "raw", str(tmp_path))
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1); print('raw')"
    run = ("run", "--rm", "raw")
    assert daemon.docker(*run, "raw", "-c", script).stdout == "raw\n"
    refused = daemon.docker(*run, "python3", "-c", script, check=False)
    assert "PermissionError" in refused.stderr
    # The layer is written and read back with them.
    archive = tmp_path / "raw.tar"
    daemon.docker("save", "-o", str(archive), "raw")
    daemon.docker("rmi", "raw")
    daemon.docker("load", "-i", str(archive))
    assert daemon.docker(*run, "raw", "-c", script).stdout == "raw\n"


def test_a_database_in_a_volume_survives_its_writers_kill(daemon: LiveDaemon) -> None:
    volume = ("-v", "rows:/data")
    image = ("debian:test", "python3", "-c")
    daemon.docker("run", "-d", "--name", "writer", *volume, *image, WRITER)
    follow = subprocess.Popen(
        daemon.argv("docker", "logs", "-f", "writer"),
        env=daemon.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follow.stdout is not None
    assert follow.stdout.readline() == "enough\n"
    beside = daemon.docker("run", "--rm", *volume, *image, READER)
    daemon.docker("kill", "writer")
    follow.wait(patient(30))
    follow.stdout.close()
    after = daemon.docker("run", "--rm", "-u", f"{os.getuid()}", *volume, *image, READER)
    assert beside.stdout == after.stdout == "ok\nTrue True\n"
    daemon.docker("rm", "-v", "writer")
    daemon.docker("volume", "rm", "rows")
