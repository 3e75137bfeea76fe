"""Clients that wait for an exit by connections that the API has parted with.

They have the head of their answer. A container that runs has a shim to keep them, so that they
outlive the daemon; here are those of containers that do not run yet, or whose shim is no more.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from tiffin.core.workload import ExitAnswer
from tiffin.engine.ports import ContainerRuntime
from tiffin.errors import TiffinError
from tiffin.runtime.waits import last_chunk


class _Client:
    def __init__(self, connection: int, answer: ExitAnswer) -> None:
        self.connection = socket.socket(fileno=connection)
        self.answer = answer
        self.under_way = False  # to the shim
        self.handed = False  # the shim has it; our copy is for a start that may fail
        self.exit_code: int | None = None  # what it is to be told if the shim does not take it


class HeldClients:
    def __init__(self, runtime: ContainerRuntime) -> None:
        self._runtime = runtime
        self._clients: dict[str, list[_Client]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._clients.values()))

    def hold(
        self,
        container_id: str,
        connection: int,
        answer: ExitAnswer,
        exit_code: int | None = None,
    ) -> None:
        """`connection` is ours from here on. With an exit code it is answered at once."""
        client = _Client(connection, answer)
        self._clients.setdefault(container_id, []).append(client)
        if exit_code is not None:
            self._answer(container_id, client, exit_code)
            return
        asyncio.get_running_loop().add_reader(connection, self._on_client, container_id, client)

    def _on_client(self, container_id: str, client: _Client) -> None:
        """It has nothing to say any more but that it goes."""
        try:
            left = not client.connection.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            left = False
        except OSError:
            left = True
        if left:
            self._let_go(container_id, client)

    async def hand_over(self, container_id: str, *, removals: bool) -> None:
        """To the shim: all but, without `removals`, those who wait for more than an exit."""
        for client in list(self._clients.get(container_id, ())):
            if client.under_way or client.handed or (client.answer.of_removal and not removals):
                continue
            client.under_way = True
            try:
                await self._runtime.wait(container_id, client.connection.fileno(), client.answer)
            except TiffinError:
                continue
            else:
                client.handed = True
            finally:
                client.under_way = False
                if not client.handed and client.exit_code is not None:
                    self._answer(container_id, client, client.exit_code)

    def handed_over(self, container_id: str) -> None:
        """The start has succeeded: what the shim has is the shim's alone."""
        for client in list(self._clients.get(container_id, ())):
            if client.handed:
                self._let_go(container_id, client)

    def take_back(self, container_id: str) -> None:
        """The start has failed, and its shim says nothing to them."""
        for client in self._clients.get(container_id, ()):
            client.handed = False

    def ended(self, container_id: str, exit_code: int, *, removed: bool) -> None:
        for client in list(self._clients.get(container_id, ())):
            if client.answer.of_removal and not removed:
                continue
            if client.under_way:
                client.exit_code = exit_code
            else:
                self._answer(container_id, client, exit_code)

    def _answer(self, container_id: str, client: _Client, exit_code: int) -> None:
        with suppress(OSError):
            data = last_chunk(client.answer.before, exit_code, client.answer.after)
            client.connection.send(data, socket.MSG_DONTWAIT)
            client.connection.shutdown(socket.SHUT_WR)
        self._let_go(container_id, client)

    def _let_go(self, container_id: str, client: _Client) -> None:
        asyncio.get_running_loop().remove_reader(client.connection.fileno())
        if client.under_way:
            return  # hand_over still needs the descriptor; the shim sees that it has gone
        clients = self._clients.get(container_id, [])
        if client in clients:
            clients.remove(client)
            client.connection.close()
        if not clients:
            self._clients.pop(container_id, None)

    def close(self) -> None:
        for container_id, clients in list(self._clients.items()):
            for client in list(clients):
                client.under_way = False
                self._let_go(container_id, client)
