"""Removing an image by Docker's rules: which name goes, what stands in the way, what goes with it.

Blocking, for a thread. `users` are the containers of the image; `happened` tells afterwards which
events to emit.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiffin.core.container import Container, Status
from tiffin.core.reference import Reference, parse
from tiffin.engine.imagecatalog import Image, ImageCatalog
from tiffin.engine.layerstore import LayerStore
from tiffin.errors import Conflict
from tiffin.storage.store import Storage

Record = dict[str, str]  # {"Untagged": name} or {"Deleted": digest}

_RUNNING = (Status.RUNNING, Status.PAUSED, Status.RESTARTING)


class Removal:
    def __init__(
        self,
        storage: Storage,
        catalog: ImageCatalog,
        layers: LayerStore,
        image: Image,
        users: Sequence[Container],
    ) -> None:
        self._storage = storage
        self._catalog = catalog
        self._layers = layers
        self._image = image
        self._users = users
        self.happened: list[str] = []  # "untag", "delete"
        self.records: list[Record] = []

    def remove(self, text: str, *, force: bool = False) -> list[Record]:
        """What was asked for by `text`. Raises Conflict in Docker's words."""
        names = self._names()
        if _is_id(self._image.id, text):
            if _is_single(names):
                self._refuse([], force=force)
                self._untag_all(names)
            self._delete(force=force)
            return self.records
        if self._users and not force and _is_single(names):
            raise self._last_name_is_needed(text)
        self._untag_with_digests(parse(text).tagged())
        if not self._names() and self._conflict([], force=force) is None:
            self._delete(force=force)
        return self.records

    def delete(self) -> list[Record]:
        """The image with all its names, if nothing uses it."""
        self._refuse([], force=False)
        self._untag_all(self._names())
        self._delete(force=False)
        return self.records

    # -- what stands in the way --------------------------------------------------------------

    def _last_name_is_needed(self, text: str) -> Conflict:
        return Conflict(
            f'conflict: unable to remove repository reference "{text}" (must force) - container '
            f"{self._users[0].short_id} is using its referenced image {self._image.short_id}"
        )

    def _refuse(self, names: Sequence[Reference], *, force: bool) -> None:
        conflict = self._conflict(names, force=force)
        if conflict is not None:
            raise conflict

    def _conflict(self, names: Sequence[Reference], *, force: bool) -> Conflict | None:
        running = [user for user in self._users if user.state.status in _RUNNING]
        if running:
            why = f"image is being used by running container {running[0].short_id}"
            return self._refusal("cannot be forced", why)
        if force:
            return None
        if names:
            return self._refusal("must be forced", "image is referenced in multiple repositories")
        if self._users:
            why = f"image is being used by stopped container {self._users[0].short_id}"
            return self._refusal("must be forced", why)
        return None

    def _refusal(self, force: str, why: str) -> Conflict:
        return Conflict(f"conflict: unable to delete {self._image.short_id} ({force}) - {why}")

    # -- what goes ---------------------------------------------------------------------------

    def _untag_with_digests(self, name: Reference) -> None:
        """With a repository's last tag its digests go too."""
        self._untag_all([name])
        siblings = [other for other in self._names() if other.name == name.name]
        if not name.digest and all(sibling.digest for sibling in siblings):
            self._untag_all(siblings)

    def _untag_all(self, names: Sequence[Reference]) -> None:
        for name in names:
            if name.digest:
                self._storage.database.delete_repo_digest(name.name, name.digest)
            else:
                self._storage.database.delete_tag(str(name))
            self.happened.append("untag")
            self.records.append({"Untagged": name.familiar()})

    def _delete(self, *, force: bool) -> None:
        names = self._names()
        self._refuse(names, force=force)
        self._untag_all(names)
        self._storage.database.delete_image(self._image.id)
        removed = self._layers.collect(
            self._image.chains, [self._image.id, self._image.manifest_digest]
        )
        self.happened.append("delete")
        self.records.append({"Deleted": self._image.id})
        self.records.extend({"Deleted": chain} for chain in removed)

    def _names(self) -> list[Reference]:
        return self._catalog.references(self._image.id)


def _is_id(image_id: str, text: str) -> bool:
    return image_id.startswith(text) or image_id.removeprefix("sha256:").startswith(text)


def _is_single(names: Sequence[Reference]) -> bool:
    """At most one tag, and all names in one repository."""
    tags = [name for name in names if not name.digest]
    return len(tags) <= 1 and len({name.name for name in names}) <= 1
