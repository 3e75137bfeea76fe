"""Paths of things in the API, and doing the same to several containers at once."""

from __future__ import annotations

from tiffin.cli.client import quote
from tiffin.cli.failures import CommandFailed, DaemonAnswered
from tiffin.cli.output import complain, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tiffin.cli.client import Client, Query

AT_ONCE = 50


def container_path(name: str, verb: str = "") -> str:
    path = f"/containers/{quote(name)}"
    return f"{path}/{verb}" if verb else path


def image_path(name: str, verb: str = "") -> str:
    path = f"/images/{quote(name, '/:@')}"
    return f"{path}/{verb}" if verb else path


def for_each(
    client: Client,
    names: Sequence[str],
    method: str,
    path_of: Callable[[str], str],
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
        asked = [client.ask(method, path_of(name), query) for name in group[1:]]
        for number, name in enumerate(group):
            try:
                if number:
                    client.answer(asked[number - 1], method).read()
                else:
                    client.request(method, path_of(name), query).read()
            except DaemonAnswered as error:
                if forgive_missing and error.status == 404:
                    complain(error.message)
                else:
                    errors.append(error.message)
            else:
                say(name)
    if errors:
        raise CommandFailed("\n".join(errors))


def one_by_one(names: Sequence[str], act: Callable[[str], None]) -> None:
    """`act` for each name, which is printed when it went well; the errors at the end."""
    errors = []
    for name in names:
        try:
            act(name)
        except DaemonAnswered as error:
            errors.append(error.message)
    if errors:
        raise CommandFailed("\n".join(errors))
