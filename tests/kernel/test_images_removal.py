"""Names and removal by Docker's rules: what goes, what stands in the way, what is collected."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from tests.busybox import busybox_image_id, busybox_image_tar
from tests.imagebench import Bench
from tiffin.core.container import Container, HostConfig, State, Status
from tiffin.core.image import ContainerConfig
from tiffin.errors import Conflict, InvalidArgument, NotFound
from tiffin.storage.database import CacheRecord

pytestmark = pytest.mark.root

BUSYBOX = busybox_image_id()
SHORT = BUSYBOX[7:19]


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as bench:
        bench.load(busybox_image_tar())
        yield bench


def used(bench: Bench, status: Status) -> Container:
    container = Container(
        id="c0ffee" * 10 + "0123",
        name="user",
        created_ns=1,
        image_id=BUSYBOX,
        image_reference="busybox",
        platform="linux",
        config=ContainerConfig(),
        host_config=HostConfig(),
        snapshot="",
        state=State(status=status),
    )
    bench.containers[BUSYBOX] = [container]
    return container


def remove(bench: Bench, name: str, *, force: bool = False) -> list[dict[str, str]]:
    return bench.run(bench.images.remove(name, force=force))


@pytest.mark.parametrize(
    "name", ["busybox", "busybox:latest", "docker.io/library/busybox", BUSYBOX, SHORT, BUSYBOX[:12]]
)
def test_an_image_has_many_names(bench: Bench, name: str) -> None:
    assert bench.run(bench.images.get(name)).id == BUSYBOX


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "No such image: none:latest"),
        ("busybox:2", "No such image: busybox:2"),
        ("f" * 64, "No such image: sha256:" + "f" * 64),
    ],
)
def test_an_unknown_image_is_told_in_the_words_of_docker(
    bench: Bench, name: str, words: str
) -> None:
    with pytest.raises(NotFound) as failure:
        bench.run(bench.images.get(name))

    assert failure.value.message == words


def test_the_start_of_two_ids_names_neither(bench: Bench) -> None:
    for number in range(20):
        bench.make(files={"n": str(number).encode()})
    first = sorted(image.id for image in bench.run(bench.images.list()))
    twice = next(a[7] for a, b in itertools.pairwise(first) if a[7] == b[7])

    with pytest.raises(NotFound, match=f"begin with {twice}"):
        bench.run(bench.images.get(twice))


def test_removing_the_only_name_removes_all(bench: Bench) -> None:
    layer = bench.run(bench.images.get("busybox")).chain_id

    removed = remove(bench, "busybox")

    assert removed == [{"Untagged": "busybox:latest"}, {"Deleted": BUSYBOX}, {"Deleted": layer}]
    assert bench.is_bare()
    assert [event.action for event in bench.told()][-2:] == ["untag", "delete"]


def test_what_was_found_before_is_found_as_it_is_now(bench: Bench) -> None:
    other = bench.make(files={"n": b"1"})
    for name in ("busybox", SHORT, "moving"):
        with suppress(NotFound):
            bench.run(bench.images.get(name))

    bench.run(bench.images.tag("busybox", "moving"))
    assert bench.run(bench.images.get("moving")).id == BUSYBOX
    assert bench.run(bench.images.get(SHORT)).tags == ("busybox:latest", "moving:latest")
    bench.run(bench.images.tag(other, "moving"))
    assert bench.run(bench.images.get("moving")).id == other
    remove(bench, "moving")
    remove(bench, "busybox")
    for name in ("moving", "busybox", SHORT):
        with pytest.raises(NotFound):
            bench.run(bench.images.get(name))
    assert not bench.run(bench.images.exists(BUSYBOX))


def test_removing_one_of_two_names_untags(bench: Bench) -> None:
    bench.run(bench.images.tag("busybox", "other", "1"))

    assert remove(bench, "busybox") == [{"Untagged": "busybox:latest"}]
    assert bench.run(bench.images.get(BUSYBOX)).tags == ("other:1",)


def test_an_id_with_names_in_two_repositories_needs_force(bench: Bench) -> None:
    bench.run(bench.images.tag("busybox", "other", "1"))

    with pytest.raises(Conflict) as refusal:
        remove(bench, SHORT)
    removed = remove(bench, SHORT, force=True)

    assert refusal.value.message == (
        f"conflict: unable to delete {SHORT} (must be forced) - "
        "image is referenced in multiple repositories"
    )
    assert removed[:3] == [
        {"Untagged": "busybox:latest"},
        {"Untagged": "other:1"},
        {"Deleted": BUSYBOX},
    ]


def test_the_name_that_a_container_needs_must_be_forced(bench: Bench) -> None:
    user = used(bench, Status.EXITED)

    with pytest.raises(Conflict) as refusal:
        remove(bench, "busybox")

    assert refusal.value.message == (
        'conflict: unable to remove repository reference "busybox" (must force) - container '
        f"{user.short_id} is using its referenced image {SHORT}"
    )


def test_the_id_that_a_stopped_container_needs_must_be_forced(bench: Bench) -> None:
    user = used(bench, Status.EXITED)

    with pytest.raises(Conflict) as refusal:
        remove(bench, SHORT)

    assert refusal.value.message == (
        f"conflict: unable to delete {SHORT} (must be forced) - "
        f"image is being used by stopped container {user.short_id}"
    )
    assert {"Deleted": BUSYBOX} in remove(bench, SHORT, force=True)


def test_the_id_that_a_running_container_needs_cannot_be_forced(bench: Bench) -> None:
    user = used(bench, Status.RUNNING)

    with pytest.raises(Conflict) as refusal:
        remove(bench, SHORT, force=True)

    assert refusal.value.message == (
        f"conflict: unable to delete {SHORT} (cannot be forced) - "
        f"image is being used by running container {user.short_id}"
    )


def test_forcing_the_name_of_a_running_container_only_untags(bench: Bench) -> None:
    used(bench, Status.RUNNING)

    assert remove(bench, "busybox", force=True) == [{"Untagged": "busybox:latest"}]
    assert bench.run(bench.images.get(BUSYBOX)).is_dangling


def test_shared_layers_stay_with_the_other_image(bench: Bench) -> None:
    bench.make_on("busybox", "more:1", files={"more": b"more"})

    removed = remove(bench, "busybox")

    assert removed == [{"Untagged": "busybox:latest"}, {"Deleted": BUSYBOX}]
    assert bench.files("more:1")["more"] == b"more"
    remove(bench, "more:1")
    assert bench.is_bare()


def test_layers_under_a_container_stay_until_it_goes(bench: Bench) -> None:
    chain = bench.run(bench.images.get("busybox")).chain_id
    active = bench.storage.snapshots.prepare(chain)

    assert remove(bench, "busybox") == [{"Untagged": "busybox:latest"}, {"Deleted": BUSYBOX}]
    assert bench.storage.snapshots.exists(str(chain))
    bench.storage.snapshots.remove(active)
    bench.run(bench.images.release(chain))
    assert bench.is_bare()


def test_layers_of_the_build_cache_stay(bench: Bench) -> None:
    image = bench.run(bench.images.get("busybox"))
    record = CacheRecord("key", str(image.chain_id), image.chains[-1], b"{}", "COPY", 1)
    bench.storage.database.put_cache(record)

    remove(bench, "busybox")
    bench.run(bench.images.sweep())

    assert bench.storage.snapshots.exists(str(image.chain_id))


def test_leased_layers_stay(bench: Bench) -> None:
    chain = str(bench.run(bench.images.get("busybox")).chain_id)

    with bench.images.leases.hold([chain]):
        remove(bench, "busybox")
        assert bench.storage.snapshots.exists(chain)
    bench.run(bench.images.sweep())

    assert bench.is_bare()


def test_pruning_takes_what_nobody_uses(bench: Bench) -> None:
    unused = bench.make("app:1", files={"a": b"old"})
    bench.make("app:1", files={"a": b"new"})
    used(bench, Status.EXITED)

    dangling, reclaimed = bench.run(bench.images.prune())
    others, _ = bench.run(bench.images.prune(dangling=False))

    assert {"Deleted": unused} in dangling
    assert reclaimed == 3
    assert {"Untagged": "app:1"} in others
    assert [image.id for image in bench.run(bench.images.list())] == [BUSYBOX]


def test_a_tag_moves_to_the_newer_image(bench: Bench) -> None:
    newer = bench.make("busybox")

    assert bench.run(bench.images.get("busybox")).id == newer
    assert bench.run(bench.images.get(BUSYBOX)).tags == ()


@pytest.mark.parametrize(
    ("repository", "tag", "words"),
    [
        ("Bad", "", "invalid reference format: repository name (library/Bad) must be lowercase"),
        ("ok", "not ok", "invalid tag format"),
        ("x@" + BUSYBOX, "", "refusing to create a tag with a digest reference"),
    ],
)
def test_a_bad_new_name_is_refused(bench: Bench, repository: str, tag: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        bench.run(bench.images.tag("busybox", repository, tag))

    assert refusal.value.message == words


def test_the_history_tells_each_layer(bench: Bench) -> None:
    bench.make_on("busybox", "more:1", files={"more": b"12345"})

    entries = bench.run(bench.images.history("more:1"))

    image = bench.run(bench.images.get("more:1"))
    assert (entries[0].id, entries[0].tags, entries[0].size) == (image.id, ("more:1",), 5)
    assert [entry.id for entry in entries[1:]] == ["<missing>"]
    assert sum(entry.size for entry in entries) == image.size


def test_a_commit_has_one_layer_more_and_the_containers_config(bench: Bench) -> None:
    image = bench.run(bench.images.get("busybox"))
    snapshots = bench.storage.snapshots
    active = snapshots.prepare(image.chain_id)
    with snapshots.mounted(active) as fd, open(f"/proc/self/fd/{fd}/new", "wb") as file:
        file.write(b"new")
    committed = snapshots.commit_copy(active)
    config = ContainerConfig(hostname="c0ffee", tty=True, cmd=("httpd",), env=("A=b",))

    made = bench.run(
        bench.images.commit(
            BUSYBOX, committed, config, comment="why", created_by="sh -c x", reference="made:1"
        )
    )

    new = bench.run(bench.images.get("made:1"))
    assert new.id == made
    assert new.config.rootfs.diff_ids == (*image.config.rootfs.diff_ids, committed.diff_id)
    assert new.config.config == msgspec.structs.replace(config, hostname="", tty=False)
    assert (new.config.history[-1].created_by, new.config.comment) == ("sh -c x", "why")
    assert bench.files("made:1")["new"] == b"new"


def test_a_commit_of_no_change_adds_no_layer(bench: Bench) -> None:
    image = bench.run(bench.images.get("busybox"))
    committed = bench.storage.snapshots.commit_copy(bench.storage.snapshots.prepare(image.chain_id))

    made = bench.run(bench.images.commit(BUSYBOX, committed, ContainerConfig()))

    new = bench.run(bench.images.get(made))
    assert new.config.rootfs == image.config.rootfs
    assert new.config.history[-1].empty_layer
