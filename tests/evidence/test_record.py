"""The canonical record: what is packed comes back, and native code writes the same bytes as the plain twin."""

import os
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard._native.decision import new_ids
from steelyard._native.journal import Ring, Subject
from steelyard._native.observe import Segment, Ticket
from steelyard.errors import EvidenceError
from steelyard.evidence.frames import records_of
from steelyard.evidence.record import (
    HEAD,
    MAX_MESSAGE_BYTES,
    NO_REASON,
    Decision,
    Flag,
    Outcome,
    Role,
    pack,
    unpack,
)
from steelyard.observe.segment_file import create_segment
from steelyard.wire import decode_request
from steelyard.wire.generated import grpc_service as pb

texts = st.text(max_size=20)
counts = st.integers(0, 2**32 - 1)
times = st.integers(0, 2**63 - 1)
traces = st.one_of(st.just(""), st.binary(min_size=16, max_size=16).map(bytes.hex))
digests = st.one_of(
    st.just(""), st.binary(min_size=32, max_size=32).filter(any).map(lambda b: f"sha256:{b.hex()}")
)
decisions = st.builds(
    Decision,
    decision_id=st.binary(min_size=16, max_size=16).map(lambda raw: str(uuid.UUID(bytes=raw))),
    outcome=st.sampled_from(Outcome),
    code=st.integers(0, 16),
    received_unix_ns=times,
    total_ns=times,
    model=texts,
    version=counts,
    digest=digests,
    reason=st.integers(0, 255),
    role=st.sampled_from(Role),
    flags=st.sampled_from([Flag(0), Flag.DEADLINE, Flag.FLAGGED | Flag.MARKED]),
    position=st.integers(0, 2**16 - 1),
    decode_ns=times,
    deadline_left_ns=st.integers(-(2**63), 2**63 - 1),
    batch=times,
    batch_rows=counts,
    rows=counts,
    sample_rate=st.floats(0, 1, width=32),
    request_id=texts,
    caller=texts,
    key=texts,
    signer=texts,
    message=texts,
    trace_id=traces,
)


@given(decisions)
def test_what_is_packed_comes_back_and_gives_the_same_bytes(decision: Decision) -> None:
    record = pack(decision)
    found = unpack(record)
    assert pack(found) == record
    assert found.trace_id == decision.trace_id
    assert (found.flags & ~Flag.TRACE, found.model, found.message) == (
        decision.flags,
        decision.model,
        decision.message,
    )


@given(decisions, st.integers(0, 400), st.binary(max_size=3))
def test_what_is_cut_or_longer_is_no_record(decision: Decision, at: int, more: bytes) -> None:
    record = pack(decision)
    wrong = record[: min(at, len(record) - 1)] + more
    if wrong != record:
        with pytest.raises(EvidenceError, match="expected a"):
            unpack(wrong if len(wrong) != len(record) else wrong[:-1])


def test_long_texts_are_cut_at_a_whole_character() -> None:
    decision = Decision(new_ids(1, 5)[0], Outcome.FAILED, 13, 1, 2, "m", message="é" * MAX_MESSAGE_BYTES)
    assert unpack(pack(decision)).message == "é" * (MAX_MESSAGE_BYTES // 2)


def ring() -> tuple[Ring, Segment]:
    fd = create_segment("test")
    segment = Segment(fd, os.getpid(), 1)
    os.close(fd)
    return Ring(segment.memory), segment


def asked(request_id: str, key: str) -> Any:
    request = pb.ModelInferRequest(model_name="prices", id=request_id)
    request.inputs.add(name="x", datatype="FP32", shape=[1])
    request.raw_input_contents.append(b"\0\0\0\0")
    if key:
        request.parameters["steelyard_key"].string_param = key
    return decode_request(request.SerializeToString())


@given(
    st.lists(
        st.tuples(texts, texts, traces, st.integers(0, 10**12), st.integers(0, 9)), min_size=1, max_size=9
    )
)
def test_native_code_writes_the_records_of_a_batch_as_the_plain_twin_does(asks: list[Any]) -> None:
    mine, _ = ring()
    digest = bytes(range(32))
    ids = new_ids(len(asks), 77)
    offset = 10**18
    tickets = []
    for request_id, key, trace, deadline_ns, rows in asks:
        traceparent = f"00-{trace}-b7ad6b7169203331-01".encode() if trace else b""
        call = SimpleNamespace(peer="ipv4:1.2.3.4:5", traceparent=traceparent)
        tickets.append(Ticket(call, asked(request_id, key), rows, (), 1000, 50, deadline_ns))
    mine.batch(
        Subject("prices", 3, digest, "signer", 1.0), tickets, ids, 1, offset, 1500, 1700, 2000, 2600, 8, 41
    )
    chunk, count = mine.peek(1 << 20)
    records = list(records_of(memoryview(chunk)))
    assert count == len(asks) == len(records)
    for place, (record, (request_id, key, trace, deadline_ns, rows)) in enumerate(
        zip(records, asks, strict=True)
    ):
        expected = Decision(
            ids[place],
            Outcome.ANSWERED,
            0,
            offset + 1000,
            1600,
            "prices",
            3,
            f"sha256:{digest.hex()}",
            NO_REASON,
            Role.CANARY,
            Flag.DEADLINE if deadline_ns else Flag(0),
            place,
            50,
            450,
            200,
            300,
            600,
            deadline_ns - 2600 if deadline_ns else 0,
            8,
            41,
            len(asks),
            rows,
            1.0,
            request_id,
            "ipv4:1.2.3.4:5",
            key,
            "signer",
            "",
            trace,
        )
        assert record == pack(expected)


def test_native_code_writes_a_refusal_as_the_plain_twin_does() -> None:
    mine, _ = ring()
    (decision_id,) = new_ids(1, 5)
    message = "né" * MAX_MESSAGE_BYTES
    mine.one(None, "né", decision_id, 1, 5, 1, 0, 10**18, 55, 7, 0, 0, False, 2, None, None, message)
    (record,) = records_of(memoryview(mine.peek(1 << 20)[0]))
    expected = Decision(
        decision_id, Outcome.REFUSED, 5, 10**18, 55, "né", reason=1, decode_ns=7, rows=2, message=message
    )
    assert record == pack(expected)


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5, 1.0])
def test_answers_are_sampled_by_their_ids_and_all_are_accounted_for(rate: float) -> None:
    mine, _ = ring()
    subject = Subject("m", 1, bytes(32), "", rate)
    ids = new_ids(4000, 5)
    call = SimpleNamespace(peer="", traceparent=b"")
    tickets = [Ticket(call, asked("", ""), 1, (), 1, 1) for _ in ids]
    mine.batch(subject, tickets, ids, 0, 0, 1, 1, 1, 1, 1, 1)
    kept = [unpack(record).decision_id for record in records_of(memoryview(mine.peek(1 << 23)[0]))]
    bits = {one: int(one[19:].replace("-", ""), 16) & ((1 << 62) - 1) for one in ids}
    assert kept == [one for one in ids if bits[one] < rate * (1 << 62)]
    assert abs(len(kept) / len(ids) - rate) < 0.05
    mine.batch(subject, tickets[:5], ids[:5], 1, 0, 1, 1, 1, 1, 1, 1)
    assert len(list(records_of(memoryview(mine.peek(1 << 23)[0])))) == len(kept) + 5, (
        "a canary's are all kept"
    )


def test_what_finds_no_room_is_counted_and_told_as_a_gap() -> None:
    mine, _ = ring()
    call = SimpleNamespace(peer="p" * 200, traceparent=b"")
    tickets = [Ticket(call, asked("", ""), 1, (), 1, 1) for _ in range(500)]
    subject = Subject("m", 1, bytes(32), "", 1.0)
    put = 0
    while mine.take_gap() is None:
        mine.batch(subject, tickets, new_ids(500, 5), 0, 10**18, 1, 1, 1, 1, 1, 1)
        put += 500
        assert put < 100_000
    held = 0
    while True:
        chunk, count = mine.peek(1 << 18)
        if not count:
            break
        mine.taken(len(chunk), count, True)
        held += count
    assert 0 < put - held <= 500
    assert mine.room == 1 << 23


def test_an_id_that_is_none_is_refused() -> None:
    mine, _ = ring()
    with pytest.raises(ValueError, match="expected a decision id"):
        mine.one(None, "m", "nonsense", 1, 5, 1, 0, 1, 1, 0, 0, 0, False, 0, None, None, "")
    with pytest.raises(ValueError, match="a segment has"):
        Ring(memoryview(bytearray(HEAD.size)))
