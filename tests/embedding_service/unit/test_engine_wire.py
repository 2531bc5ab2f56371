"""What goes between the service and its worker comes out as it went in."""

import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedding_service.backends.base import BackendFailed, Batch
from embedding_service.engine import wire
from embedding_service.engine.base import Done

IDS = st.lists(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=9), min_size=1, max_size=9)


def payload(frame: bytes) -> bytes:
    """What receive() gives of a frame that came by a socket, in pieces or not."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frame)
        found = wire.receive(theirs)
        assert found is not None
        return found


@given(st.integers(0, 2**32 - 1), IDS, st.booleans())
def test_a_batch_arrives_whole(number: int, ids: list[list[int]], pairs: bool) -> None:
    batch = Batch(ids, [len(sequence) // 2 for sequence in ids] if pairs else None)
    found = wire.unpack_request(payload(wire.pack_request(number, "bulk", "predict", batch)))
    assert found[:3] == (number, "bulk", "predict")
    assert [sequence.tolist() for sequence in found[3].ids] == ids  # type: ignore[attr-defined]
    assert found[3].second == batch.second


def test_an_answer_arrives_whole() -> None:
    rows = np.random.default_rng(7).normal(size=(3, 5)).astype(np.float32)
    number, outcome = wire.unpack_answer(payload(wire.pack_answer(8, Done(rows, 0.25))))
    assert (number, isinstance(outcome, Done)) == (8, True)
    assert isinstance(outcome, Done)
    np.testing.assert_array_equal(outcome.rows, rows)
    assert outcome.run_s == 0.25


def test_a_failure_arrives_with_its_message() -> None:
    number, outcome = wire.unpack_answer(payload(wire.pack_answer(9, BackendFailed("é: no memory"))))
    assert number == 9
    assert isinstance(outcome, BackendFailed)
    assert outcome.message == "é: no memory"


@pytest.mark.parametrize("sent", [b"", b"\x05\x00", b"\x05\x00\x00\x00abc"])
def test_an_end_in_the_middle_of_a_frame_is_an_end(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(sent)
        assert wire.receive(theirs) is None
