"""Paths of things in the API, and doing the same to several containers at once."""

from __future__ import annotations

from tiffin.cli.client import quote
from tiffin.cli.failures import CommandFailed, DaemonAnswered, EmptyName
from tiffin.cli.output import complain, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tiffin.cli.client import Client, Query

AT_ONCE = 50


def path_of(kind: str, name: str) -> str:
    """Where the `container`, `network` or `volume` of that name is. EmptyName for no name."""
    if not name.strip():
        raise EmptyName(kind)
    return f"/{kind}s/{quote(name, '/')}"


def container_path(name: str, verb: str = "") -> str:
    path = path_of("container", name)
    return f"{path}/{verb}" if verb else path


def image_path(name: str, verb: str = "") -> str:
    path = f"/images/{quote(name, '/:@')}"
    return f"{path}/{verb}" if verb else path


def for_each(
    client: Client,
    names: Sequence[str],
    method: str,
    place_of: Callable[[str], str],
    query: Query = None,
    *,
    forgive_missing: bool = False,
) -> None:
    """One request for each name, up to 50 under way; prints the names that went well, in order.

    CommandFailed with all the errors at the end. `forgive_missing`: 404 is only told.
    """
    if len(names) > 1:
        client.negotiate()
    errors = []
    for start in range(0, len(names), AT_ONCE):
        group = names[start : start + AT_ONCE]
        places = [_place(name, place_of) for name in group]
        asked = [
            client.ask(method, place, query) if number and isinstance(place, str) else None
            for number, place in enumerate(places)
        ]
        for name, place, connection in zip(group, places, asked, strict=True):
            try:
                if isinstance(place, EmptyName):
                    raise place
                if connection:
                    client.answer(connection, method).read()
                else:
                    client.request(method, place, query).read()
            except (DaemonAnswered, EmptyName) as error:
                missing = isinstance(error, DaemonAnswered) and error.status == 404
                if forgive_missing and missing:
                    complain(error.message)
                else:
                    errors.append(error.message)
            else:
                say(name)
    if errors:
        raise CommandFailed("\n".join(errors))


def _place(name: str, place_of: Callable[[str], str]) -> str | EmptyName:
    try:
        return place_of(name)
    except EmptyName as error:
        return error


def one_by_one(names: Sequence[str], act: Callable[[str], None]) -> None:
    """`act` for each name, which is printed when it went well; the errors at the end."""
    errors = []
    for name in names:
        try:
            act(name)
        except (DaemonAnswered, EmptyName) as error:
            errors.append(error.message)
    if errors:
        raise CommandFailed("\n".join(errors))
