"""What a start tells the shim of the run, for the daemon after this one.

A program that was let go runs, whether or not the daemon lives to write that down. Its shim keeps
what the record was to be; who finds a run that is in no record takes it from there.
"""

from __future__ import annotations

import msgspec

from tiffin.core.container import State


def written(state: State) -> str:
    return msgspec.json.encode(state).decode()


def unrecorded(record: str, known: State) -> State | None:
    """The state of a run that `known` does not tell of. None: it does, or the record is none."""
    try:
        state = msgspec.json.decode(record, type=State)
    except msgspec.DecodeError:
        return None
    newer = state.boot_id and state.started_ns > known.started_ns
    return state if newer else None
