"""Many small questions on one connection: the next ones are sent before the answers are read."""

from __future__ import annotations

from tiffin.cli.client import Response
from tiffin.cli.failures import CommandFailed, DaemonAnswered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tiffin.cli.client import Client, Connection, Query

# What a daemon that is busy writing answers can leave unread, so that sending never blocks.
UNDER_WAY = 32
BYTES_UNDER_WAY = 16384


def get_each(
    client: Client, paths: Sequence[str], query: Query = None
) -> Iterator[bytes | DaemonAnswered]:
    """The bodies that `GET` has for `paths`, in their order; a refusal is one of them.

    A daemon that hangs up after an answer is asked again for the rest.
    """
    if len(paths) == 1:
        yield _get(client, paths[0], query)
        return
    client.negotiate()
    position = 0
    while position < len(paths):
        conversation = _Conversation(client, paths[position:], query)
        for found in conversation.answers():
            position += 1
            yield found


def _get(client: Client, path: str, query: Query) -> bytes | DaemonAnswered:
    try:
        return client.request("GET", path, query).read()
    except DaemonAnswered as refusal:
        return refusal


class _Conversation:
    """What is said on one connection."""

    def __init__(self, client: Client, paths: Sequence[str], query: Query):
        self.client = client
        self.connection: Connection = client.open()
        self.paths = iter(paths)
        self.unsent = [client.message("GET", path, query, {}) for path in reversed(paths)]
        self.sizes: list[int] = []  # of the requests whose answers are to come, oldest first

    def answers(self) -> Iterator[bytes | DaemonAnswered]:
        """At least one, or CommandFailed."""
        answered = closing = False
        while not closing and (self.unsent or self.sizes):
            path = next(self.paths)
            try:
                self.send()
                answer = Response(self.connection, "GET", _stays_ours)
            except (OSError, CommandFailed) as error:
                if answered and not self.connection.received:
                    break  # it said all that it wanted to on this connection
                words = error.strerror if isinstance(error, OSError) else str(error)
                words = getattr(self.connection.socket, "failure", "") or words
                raise CommandFailed(f"error during connect: GET {path}: {words}") from error
            del self.sizes[0]
            answered, closing = True, answer.headers.get("connection", "").lower() == "close"
            try:
                yield self.client.checked(answer).read()
            except DaemonAnswered as refusal:
                yield refusal
        self.connection.close()

    def send(self) -> None:
        """Many at once, when half of what was under way is answered."""
        if len(self.sizes) > UNDER_WAY // 2:
            return
        batch = []
        while self.unsent and self.has_room(len(self.unsent[-1])):
            self.sizes.append(len(self.unsent[-1]))
            batch.append(self.unsent.pop())
        if batch:
            self.connection.send(b"".join(batch))

    def has_room(self, size: int) -> bool:
        """For one more request; for any where none is under way."""
        if not self.sizes:
            return True
        return len(self.sizes) < UNDER_WAY and sum(self.sizes) + size <= BYTES_UNDER_WAY


def _stays_ours(_: Connection) -> None:
    """The client may have no idle connection on which answers are still to come."""
