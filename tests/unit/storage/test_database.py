from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tiffin.core.container import Container, HostConfig, Volume
from tiffin.core.image import ContainerConfig
from tiffin.errors import Conflict, EngineFailure
from tiffin.storage import database as module
from tiffin.storage.database import CacheRecord, Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(str(tmp_path / "db"))
    yield opened
    opened.close()


def container(number: int, name: str) -> Container:
    return Container(
        id=f"{number:064x}",
        name=name,
        created_ns=1,
        image_id="sha256:" + "0" * 64,
        image_reference="busybox",
        platform="linux",
        config=ContainerConfig(cmd=("sh",), labels={"a": "b"}),
        host_config=HostConfig(binds=("/a:/b",)),
        snapshot="1",
    )


def test_a_container_comes_back_as_it_was_put(database: Database) -> None:
    one = container(1, "web")
    database.put_container(one)
    assert database.find_container(one.id) == one
    assert database.container_by_name("web") == one
    assert database.containers() == [one]


def test_a_container_is_renamed_and_deleted(database: Database) -> None:
    database.put_container(container(1, "web"))
    database.put_container(container(1, "api"))
    assert database.container_by_name("web") is None
    database.delete_container(container(1, "").id)
    assert database.containers() == []


def test_two_containers_of_one_name_conflict(database: Database) -> None:
    database.put_container(container(1, "web"))
    with pytest.raises(Conflict, match='The container name "/web" is already in use by container'):
        database.put_container(container(2, "web"))
    assert [found.id for found in database.containers()] == [container(1, "").id]


def test_an_image_goes_with_its_names(database: Database) -> None:
    database.put_image("sha256:a", "sha256:a", 10, 20)
    database.put_tag("docker.io/library/x:latest", "sha256:a")
    database.put_tag("docker.io/library/y:latest", "sha256:b")
    database.put_repo_digest("docker.io/library/x", "sha256:m", "sha256:a")
    assert database.repo_digests("sha256:a") == ["docker.io/library/x@sha256:m"]
    assert database.image_of_repo_digest("docker.io/library/x", "sha256:m") == "sha256:a"
    database.delete_image("sha256:a")
    assert database.images() == []
    assert database.tags() == {"docker.io/library/y:latest": "sha256:b"}
    assert database.repo_digests("sha256:a") == []


def test_a_tag_moves(database: Database) -> None:
    database.put_tag("x", "sha256:a")
    database.put_tag("x", "sha256:b")
    assert database.tag("x") == "sha256:b"
    database.delete_tag("x")
    assert database.tag("x") is None


def test_snapshots_are_settled_before_the_row_of_an_image(database: Database) -> None:
    seen: list[bool] = []
    database.settle = lambda: seen.append(database.find_image("sha256:a") is None)
    database.put_image("sha256:a", "sha256:a", 10, 20)
    assert seen == [True]


def test_volumes_networks_and_cache_records_come_back(database: Database) -> None:
    volume = Volume("data", 1, "/somewhere", labels={"a": "b"})
    record = CacheRecord("key", "sha256:c", "sha256:d", b"{}", "RUN true", 5)
    database.put_volume(volume)
    database.put_network("net", b'{"a":1}')
    database.put_cache(record)
    assert (database.find_volume("data"), database.volumes()) == (volume, [volume])
    assert (database.find_network("net"), database.networks()) == (b'{"a":1}', {"net": b'{"a":1}'})
    assert (database.find_cache("key"), database.cache_records()) == (record, [record])
    database.delete_volume("data")
    database.delete_network("net")
    database.delete_cache("key")
    assert (database.find_volume("data"), database.find_network("net")) == (None, None)
    assert database.find_cache("key") is None


def test_many_threads_write_at_once(database: Database) -> None:
    def write(start: int) -> None:
        for number in range(start, start + 20):
            database.put_container(container(number, f"c{number}"))

    threads = [threading.Thread(target=write, args=(20 * number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database.containers()) == 100


def test_a_database_is_migrated_step_by_step_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "db")
    Database(path).close()
    step = "ALTER TABLE volumes ADD COLUMN extra TEXT"
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, step))
    Database(path).close()
    Database(path).close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(module.MIGRATIONS) + 1,)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(volumes)")]
    connection.close()
    assert columns == ["name", "record", "extra"]


def test_a_database_of_the_future_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(EngineFailure, match="newer"):
        Database(path)


def test_what_is_no_database_is_a_named_failure(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(EngineFailure, match="database"):
        Database(str(path))


def test_the_log_is_moved_into_the_file_on_another_connection(
    database: Database, tmp_path: Path
) -> None:
    for number in range(500):
        database.put_container(
            msgspec.structs.replace(container(number, f"c{number}"), image_reference="x" * 20_000)
        )
    assert (tmp_path / "db").stat().st_size < 2_000_000
    database.checkpoint_beside()
    assert (tmp_path / "db").stat().st_size > 4_000_000
