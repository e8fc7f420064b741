"""Replays without a server: equal or not, and where a difference begins."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from steelyard._native.decision import new_ids
from steelyard.clock import ManualClock
from steelyard.errors import InvalidRequest
from steelyard.evidence.masking import Masks
from steelyard.evidence.payload import Payload, pack, salted
from steelyard.evidence.payload_files import PayloadWriter, find
from steelyard.evidence.payload_filter import parse_filter
from steelyard.evidence.payload_notes import PayloadNotes, payload_notes
from steelyard.evidence.sealing import Sealing
from steelyard.models.digest import version_digest
from steelyard.models.manifest import ModelManifest
from steelyard.replay.run import Replay, Target
from steelyard.replay.verdict import Replayed, Stage, Verdict
from steelyard.replay.version import Versions, load
from steelyard.rollout.frames import Asked
from steelyard.serving.payloads import tensor_digest
from steelyard.shadow.local import LocalCandidate
from steelyard.wire import encode_bytes_tensor, encode_request
from tests.evidence import journals
from tests.support import models

SALT = b"s" * 32

PEOPLE = """
on_breach = "flag"

[[input]]
name = "rows"

[[input.steps]]
step = "table"
rows = "json"

[[input.steps.column]]
name = "age"
kind = "number"
contract = { max = 120 }

[[input.steps.column]]
name = "height"
kind = "number"

[[input.steps.tensor]]
name = "x"

[[input.steps.tensor.feature]]
column = "age"

[[input.steps.tensor.feature]]
column = "height"
steps = [{ step = "scale", mean = 1.0, std = 2.0 }]
"""
TWO = ("batch", 2)


def asked(model: str = "people", **row: Any) -> bytes:
    data = encode_bytes_tensor([json.dumps({"age": 30, "height": 2, **row}).encode()])
    return encode_request(model, "", "a request", {}, [("rows", "BYTES", (1,), data)], [])


class Kept:
    """A repository, a data directory, and what a server would have captured of requests."""

    def __init__(self, root: Path) -> None:
        self.repository = root / "models"
        self.data = root / "data"
        self.data.mkdir()
        self.clock = ManualClock()
        self.notes: list[dict[str, Any]] = []
        self.writer = PayloadWriter(self.data, "worker-0", self.clock)

    def put(self, version: int = 1, content: bytes | None = None, about: str = PEOPLE) -> Path:
        return models.put(
            self.repository,
            "people",
            models.scaled(dims=TWO) if content is None else content,
            version,
            "",
            about,
        )

    def keep(self, body: bytes, version: int = 1, masks: tuple[str, ...] = (), **other: Any) -> str:
        """Answers a request as a server would, and keeps both; gives the decision id."""
        path = self.repository / "people" / str(version)
        (decision,) = new_ids(1, self.clock.unix_ns() // 1_000_000)
        outcome = (
            LocalCandidate("people", version, path, ModelManifest())
            .run([Asked(decision, body, b"")])
            .outcomes[0]
        )
        came = load("people", path, "", ModelManifest(), 1).run(body)
        tensors = {} if masks else {n: tensor_digest(SALT, a) for n, a in (came.walked.inputs or {}).items()}
        request, masked = Masks(masks).request(body)
        answer = outcome.answer or outcome.error.encode()
        payload = Payload(
            decision_id=decision,
            model="people",
            version=version,
            digest=version_digest(path),
            status=outcome.status,
            reasons=("rate",),
            masked=masked,
            request_id="a request",
            key="",
            salt=SALT,
            input_digest=salted(SALT, other.get("request", request)),
            output_digest=salted(SALT, other.get("answer", answer)),
            kept=True,
            request=request,
            answer=answer,
            tensors=tensors,
        )
        payload = replace(payload, **other)
        self.notes.append(payload.note(*self.writer.append(payload)))
        return decision

    def rewrite(self, decision: str, change: Callable[[Payload], Payload]) -> None:
        """Writes another payload over one of the same length, with the checksums that belong to it."""
        entry = find(self.data, decision)
        changed = pack(change(entry.read()))
        with entry.path.open("r+b") as file:
            file.seek(entry.offset)
            file.write(changed)

    def replay(self, decision: str, **target: Any) -> Replayed:
        notes = payload_notes(self.data, {decision})
        work = Replay(
            Versions(self.repository, 1),
            Target(**target),
            noted=PayloadNotes(self.data, notes).of,
        )
        return work.one(find(self.data, decision))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_the_same_content_gives_the_same_answer(kept: Kept) -> None:
    kept.put()
    for body in (asked(), asked(age=130), asked(age="old")):
        found = kept.replay(kept.keep(body))
        assert (found.verdict, found.begins, found.why) == (Verdict.EQUAL, None, "")


def test_the_version_is_found_by_its_content_and_said_to_be_gone(kept: Kept) -> None:
    kept.put()
    decision = kept.keep(asked())
    (kept.repository / "people" / "1").rename(kept.repository / "people" / "7")
    assert kept.replay(decision).verdict is Verdict.EQUAL
    (kept.repository / "people" / "7" / "note").write_text("more")
    found = kept.replay(decision)
    assert found.verdict is Verdict.NOT_KEPT
    assert "which version 1 had then" in found.why


@pytest.mark.parametrize(
    ("content", "about", "body", "stage"),
    [
        (None, PEOPLE.replace("max = 120", "max = 20"), asked(), Stage.CONTRACT),
        (None, PEOPLE.replace('"flag"', '"refuse"'), asked(age=130), Stage.CONTRACT),
        (None, PEOPLE.replace("std = 2.0", "std = 3.0"), asked(), Stage.PIPELINE),
        (models.scaled(3.0, TWO), PEOPLE, asked(), Stage.MODEL),
        (
            None,
            PEOPLE + '[[output]]\nname = "y"\nsource = "y"\nsteps = [{ step = "softmax" }]\n',
            asked(),
            Stage.ANSWER,
        ),
    ],
    ids=["another bound", "refused", "another scale", "another model", "steps behind the model"],
)
def test_where_another_version_parts_from_the_one_then(
    kept: Kept, content: bytes | None, about: str, body: bytes, stage: Stage
) -> None:
    kept.put()
    kept.put(2, content, about)
    decision = kept.keep(body)
    for target in ({"version": 2}, {"candidate": kept.repository / "people" / "2"}):
        found = kept.replay(decision, **target)
        assert (found.verdict, found.begins) == (Verdict.DIFFERS, stage), found.why
        assert found.why
    assert kept.replay(decision, version=1).verdict is Verdict.EQUAL


def test_an_answer_that_was_another_then(kept: Kept) -> None:
    kept.put()
    kept.put(2, models.scaled(3.0, TWO))
    other = find(kept.data, kept.keep(asked(), version=2)).read()
    found = kept.replay(kept.keep(asked(), answer=other.answer))
    assert (found.verdict, found.begins) == (Verdict.DIFFERS, Stage.MODEL)
    assert "output 'y' differs by" in found.why
    found = kept.replay(kept.keep(asked(), tensors={"x": "sha256:" + "0" * 64}))
    assert (found.verdict, found.begins) == (Verdict.DIFFERS, Stage.PIPELINE)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("part", ["request", "answer"])
def test_a_byte_of_a_payload_that_was_changed(kept: Kept, part: str) -> None:
    kept.put()
    decision = kept.keep(asked())
    entry = find(kept.data, decision)
    content = entry.path.read_bytes()
    at = content.index(getattr(entry.read(), part), entry.offset)
    entry.path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    found = kept.replay(decision)
    assert (found.verdict, found.now) == (Verdict.CHANGED, None)
    assert found.why.startswith("the captured payload is not what was recorded: the payload of decision")
    # By somebody who knows of the checksums.
    entry.path.write_bytes(content)
    kept.rewrite(decision, lambda payload: replace(payload, **{part: flipped(getattr(payload, part))}))
    found = kept.replay(decision)
    assert (found.verdict, found.now) == (Verdict.CHANGED, None)
    assert found.why.endswith(f"recorded: the {part} is not the one of its digest")


@pytest.mark.parametrize("sealed", [False, True], ids=["open", "sealed"])
def test_a_payload_with_digests_of_its_own_is_not_what_the_journal_has(kept: Kept, sealed: bool) -> None:
    kept.put()
    decisions = [kept.keep(asked(age=age)) for age in (30, 31)]
    journals.write(kept.data, journals.packed(1), notes=kept.notes, closed=sealed)
    if sealed:
        assert list(Sealing(kept.data).all_closed())
    for decision in decisions:
        found = kept.replay(decision)
        assert (found.verdict, found.noted) == (Verdict.EQUAL, True)

    def other_request(payload: Payload) -> Payload:
        request = asked(age=32)
        return replace(payload, request=request, input_digest=salted(SALT, request))

    def other_answer(payload: Payload) -> Payload:
        answer = flipped(payload.answer)
        return replace(payload, answer=answer, output_digest=salted(SALT, answer))

    kept.rewrite(decisions[0], other_request)
    kept.rewrite(decisions[1], other_answer)
    for decision, part in zip(decisions, ("request", "answer"), strict=True):
        found = kept.replay(decision)
        assert (found.verdict, found.now) == (Verdict.CHANGED, None)
        assert found.why == (
            f"the captured payload is not what was recorded: the journal has another digest of the {part}"
        )


def test_a_payload_whose_note_names_another_place_is_not_what_the_journal_has(kept: Kept) -> None:
    kept.put()
    decisions = [kept.keep(asked(age=age)) for age in (30, 31)]
    journals.write(kept.data, journals.packed(1), notes=kept.notes)
    path = find(kept.data, decisions[0]).path
    # With its digests rewritten, under a name that no note has.
    kept.rewrite(
        decisions[0],
        lambda payload: replace(payload, request=asked(age=32), input_digest=salted(SALT, asked(age=32))),
    )
    moved = path.rename(path.with_name(path.name.replace("worker-0", "worker-1")))
    for decision, offset in zip(decisions, (0, find(kept.data, decisions[1]).offset), strict=True):
        found = kept.replay(decision)
        assert (found.verdict, found.now, found.noted) == (Verdict.CHANGED, None, True)
        assert (
            f"the journal has the payload of this decision in people/{path.name} at byte {offset}"
            in found.why
        )
    # A shadow keeps payloads of the same decisions, and the journal has no note of those.
    moved.rename(path.with_name(path.name.replace("worker-0", "shadow-7")))
    found = kept.replay(decisions[1])
    assert (found.verdict, found.noted) == (Verdict.EQUAL, False)


@pytest.mark.parametrize("installed", [True, False], ids=["pyarrow", "no pyarrow"])
def test_the_command_tells_which_payloads_the_journal_has_no_note_of(kept: Kept, installed: bool) -> None:
    kept.put()
    decisions = [kept.keep(asked(age=age)) for age in (30, 31, 32)]
    journals.write(kept.data, journals.packed(1), notes=kept.notes[:2])
    unnoted = decisions[2:] if installed else decisions
    not_read = (
        ""
        if installed
        else "the journal's notes cannot be read, as pyarrow is not installed (steelyard[evidence])"
    )
    code, said = replayed(kept, installed, "--model", "people", "--json")
    many = json.loads(said)
    assert (code, many["verdicts"]) == (0, {"equal": 3})
    assert (many["unnoted"], many["notes_not_read"]) == (unnoted, not_read)
    code, said = replayed(kept, installed, "--model", "people")
    assert code == 0
    alone = "held against its own digests alone"
    if installed:
        assert said.splitlines()[1:] == [f"1 without a note in the journal, {alone}:", f"  {decisions[2]}"]
    else:
        assert said.splitlines()[1:] == [f"3 payloads, {alone}: {not_read}"]
    code, said = replayed(kept, installed, decisions[2])
    assert code == 0
    assert said.splitlines()[2:] == [f"{not_read or 'the journal has no note of this payload'}: {alone}"]


def replayed(kept: Kept, installed: bool, *arguments: str) -> tuple[int, str]:
    """The exit status and the output of `steelyard replay`, in a process of its own, as it lowers its priority."""
    hide = "" if installed else "sys.modules['pyarrow'] = None; "
    command = [
        sys.executable,
        "-P",
        "-c",
        f"import sys; {hide}from steelyard.cli.main import main; sys.exit(main(sys.argv[1:]))",
        "replay",
        *arguments,
        *("--data", str(kept.data), "--repository", str(kept.repository)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_what_is_masked_says_nothing(kept: Kept) -> None:
    kept.put()
    found = kept.replay(kept.keep(asked(), masks=("rows.age",)))
    assert (found.verdict, found.begins) == (Verdict.MASKED, Stage.RAW)
    assert "rows.age was masked" in found.why


def test_a_refusal_under_load_is_not_compared(kept: Kept) -> None:
    kept.put()
    found = kept.replay(kept.keep(asked(), status=8, answer=b"the queue is full"))
    assert found.verdict is Verdict.NOT_COMPARABLE
    assert "RESOURCE_EXHAUSTED" in found.why


def test_many_in_their_order_whatever_each_comes_to(kept: Kept) -> None:
    kept.put()
    decisions = [kept.keep(asked(age=age)) for age in range(20)]
    gone = kept.keep(asked(), kept=False, request=b"", answer=b"")
    erased = kept.keep(asked())
    find(kept.data, erased).erase()
    entries = [find(kept.data, decision) for decision in (*decisions, gone, erased)]
    found = list(Replay(Versions(kept.repository, 1), Target()).many(entries, 4))
    assert [one.decision_id for one in found] == [*decisions, gone, erased]
    assert [one.verdict for one in found] == [Verdict.EQUAL] * 20 + [Verdict.NOT_KEPT] * 2


FILTERED: list[tuple[str, Callable[[Payload], bool]]] = [
    ("version=3", lambda payload: payload.version == 3),
    ("version >= 2 and status!=0", lambda payload: payload.version >= 2 and payload.status != 0),
    ("reason=flag AND key='a b'", lambda payload: "flag" in payload.reasons and payload.key == "a b"),
    ("reason!=flag", lambda payload: "flag" not in payload.reasons),
]


@pytest.mark.parametrize(("text", "meant"), FILTERED)
def test_filters(text: str, meant: Callable[[Payload], bool]) -> None:
    passes = parse_filter(text)
    nothing = Payload("", "m", 1, "", 0, (), (), "", "", SALT, "", "", True)
    for version in (1, 3):
        for status in (0, 3):
            for reasons in ((), ("flag",)):
                for key in ("", "a b"):
                    one = replace(nothing, version=version, status=status, reasons=reasons, key=key)
                    assert passes(one) == meant(one)


@pytest.mark.parametrize(
    "text", ["", "version", "version=x", "colour=red", "key<3", "version=1 or status=2", "x" * 2000]
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InvalidRequest, match="filter: "):
        parse_filter(text)


def test_arrays_of_texts_and_numbers_have_digests() -> None:
    texts = np.array(["a", "b"], object)
    assert tensor_digest(SALT, texts) == salted(SALT, encode_bytes_tensor(["a", "b"]))
