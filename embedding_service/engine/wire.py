"""Frames between the service and its worker process, over a socket pair that only these two hold.

A frame is its length and its bytes; arrays go as they are in memory, since both ends are one machine and one program.
What is said once (settings, a model's facts) is pickled; what is said for every batch is packed by hand: 26 us
for a batch of 16 questions and its answer, both ends.
"""

import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from embedding_service.backends.base import BackendFailed, Batch, Task
from embedding_service.engine.base import Done, Lane

LENGTH = struct.Struct("<I")

_LANES: tuple[Lane, ...] = get_args(Lane)
_TASKS: tuple[Task, ...] = get_args(Task)

_REQUEST = struct.Struct("<IBBBI")  # number, lane, task, has pairs, sequences
_ANSWER = struct.Struct("<I?dII")  # number, is well, seconds, rows, columns


def frame(payload: bytes) -> bytes:
    """The payload with its length before it."""
    return LENGTH.pack(len(payload)) + payload


def pack_once(value: object) -> bytes:
    """A frame of any value of ours: settings, Ready, ModelError."""
    return frame(pickle.dumps(value))


def unpack_once(payload: bytes) -> Any:
    """The value of pack_once's frame."""
    return pickle.loads(payload)


def pack_request(number: int, lane: Lane, task: Task, batch: Batch) -> bytes:
    """A frame that asks for a batch. number: in [0, 2^32), comes back with the answer."""
    head = _REQUEST.pack(number, _LANES.index(lane), _TASKS.index(task), batch.second is not None, len(batch.ids))
    lengths = np.fromiter(map(len, batch.ids), np.int32, len(batch.ids))
    ids = np.concatenate([np.asarray(sequence, np.int32) for sequence in batch.ids])
    return frame(b"".join((head, lengths.tobytes(), _ints(batch.second or ()), ids.tobytes())))


def unpack_request(payload: bytes) -> tuple[int, Lane, Task, Batch]:
    """(number, lane, task, batch) of pack_request's frame; the ids are views of the payload."""
    number, lane, task, has_pairs, count = _REQUEST.unpack_from(payload)
    numbers = np.frombuffer(payload, np.int32, offset=_REQUEST.size)
    lengths, rest = numbers[:count], numbers[count:]
    second = None
    if has_pairs:
        second, rest = rest[:count].tolist(), rest[count:]
    ids = np.split(rest, np.cumsum(lengths)[:-1])
    return number, _LANES[lane], _TASKS[task], Batch(cast(Sequence[Sequence[int]], ids), second)


def pack_answer(number: int, outcome: Done | BackendFailed) -> bytes:
    """A frame that answers request `number`."""
    if isinstance(outcome, BackendFailed):
        return frame(_ANSWER.pack(number, False, 0.0, 0, 0) + outcome.message.encode())
    rows = np.ascontiguousarray(outcome.rows, np.float32)
    return frame(_ANSWER.pack(number, True, outcome.run_s, *rows.shape) + rows.tobytes())


def unpack_answer(payload: bytes) -> tuple[int, Done | BackendFailed]:
    """(number, outcome) of pack_answer's frame; rows (n, columns) float32 are a view of the payload."""
    number, is_well, run_s, count, columns = _ANSWER.unpack_from(payload)
    if not is_well:
        return number, BackendFailed(payload[_ANSWER.size :].decode())
    rows: NDArray[np.float32] = np.frombuffer(payload, np.float32, offset=_ANSWER.size).reshape(count, columns)
    return number, Done(rows, run_s)


def receive(connection: socket.socket) -> bytes | None:
    """The next frame's payload, by blocking; None where the other end is closed."""
    head = _exactly(connection, LENGTH.size)
    return None if head is None else _exactly(connection, LENGTH.unpack(head)[0])


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    parts = bytearray(size)
    view, filled = memoryview(parts), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if not count:
            return None
        filled += count
    return bytes(parts)


def _ints(values: Sequence[int]) -> bytes:
    return np.asarray(values, np.int32).tobytes()
