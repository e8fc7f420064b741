"""Canonical records as columns: each comes back byte by byte."""

import io
import uuid

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.errors import EvidenceError
from steelyard.evidence.batch import Records, to_exact_table, to_records
from steelyard.evidence.columns import REASONS
from steelyard.evidence.record import HEAD, Decision, Flag, Outcome, Role, pack
from steelyard.observe.layout import Refusal
from tests.evidence import journals

u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))
texts = st.text(st.characters(codec="utf-8"), max_size=12)

decisions = st.builds(
    Decision,
    decision_id=st.uuids().map(str),
    outcome=st.sampled_from(Outcome),
    code=st.integers(0, 16),
    received_unix_ns=u64,
    total_ns=u64,
    model=texts,
    version=u32,
    digest=st.sampled_from(["", journals.DIGEST, "sha256:" + "01" * 32]),
    reason=st.integers(0, 255),
    role=st.sampled_from(Role),
    flags=st.integers(0, 255).map(Flag),
    position=u16,
    decode_ns=u64,
    queue_ns=u64,
    assemble_ns=u64,
    execute_ns=u64,
    encode_ns=u64,
    deadline_left_ns=st.integers(-(2**63), 2**63 - 1),
    batch=u64,
    batch_rows=u32,
    batch_requests=u32,
    rows=u32,
    sample_rate=st.floats(width=32),
    request_id=texts,
    caller=texts,
    key=texts,
    signer=texts,
    message=texts,
    trace_id=st.one_of(st.just(""), st.binary(min_size=16, max_size=16).map(bytes.hex)),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(decisions, max_size=6), st.data())
def test_columns_give_every_record_back(made: list[Decision], data: st.DataObject) -> None:
    records = [pack(one) for one in made]
    if records and data.draw(st.booleans()):
        # Bytes that no text has.
        place = data.draw(st.integers(0, len(records) - 1))
        spoilt = bytearray(records[place])
        if len(spoilt) > HEAD.size:
            spoilt[-1] = 0xFF
        records[place] = bytes(spoilt)
    table = to_exact_table(Records.of(records), 0)
    file = io.BytesIO()
    pq.write_table(table, file, store_schema=False)
    assert to_records(table).to_list() == records
    assert to_records(pq.read_table(file)).to_list() == records


def test_what_is_no_record_is_refused() -> None:
    (good,) = journals.packed(1)
    for bad in (good[:-1], good + b"x", b"", b"\x02" + good[1:]):
        with pytest.raises(EvidenceError, match="expected"):
            to_exact_table(Records.of([good, bad]), 0)


def test_only_what_columns_cannot_hold_is_kept_whole() -> None:
    plain, deadline = journals.packed(1), journals.packed(2, flags=Flag.DEADLINE, deadline_left_ns=-5)
    odd = journals.packed(3, reason=77)
    table = to_exact_table(Records.of([*plain, *deadline, *odd]), 4)
    assert table["record"].to_pylist() == [None, None, odd[0]]
    assert table["deadline_left_ns"].to_pylist() == [None, -5, None]
    assert table["worker"].to_pylist() == [4, 4, 4]


def test_reasons_are_those_of_refusals() -> None:
    assert tuple(reason.name.lower() for reason in sorted(Refusal)) == REASONS


def test_ids_are_ids() -> None:
    (record,) = journals.packed(9)
    table = to_exact_table(Records.of([record]), None)
    assert table["decision_id"].to_pylist() == [uuid.UUID(journals.decision(9).decision_id)]
    assert table["worker"].to_pylist() == [None]
