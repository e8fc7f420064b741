"""A version that is loaded, warm and served: all that the request path needs to know of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from steelyard._native.journal import Subject
from steelyard._native.observe import Slot
from steelyard.models.manifest import ModelManifest
from steelyard.models.spec import ModelSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.pipelines.plan import Pipeline
from steelyard.runtime.ragged import Ragged
from steelyard.runtime.runner import Runner
from steelyard.runtime.staged import Staging
from steelyard.scheduling.lane import Lane
from steelyard.serving.call import MODEL_DIGEST, MODEL_VERSION, Metadata
from steelyard.serving.takes import Takes
from steelyard.wire import ResponseEncoder, Signature

if TYPE_CHECKING:
    from steelyard.serving.capturing import CaptureTap
    from steelyard.serving.shadowing import ShadowTap


@dataclass(frozen=True, slots=True)
class Batching:
    """Whether requests of a version are put together, and why."""

    allowed: bool
    reason: str


@dataclass(slots=True, eq=False)
class ServedVersion:
    """One version as the request path sees it; made by `loading`, installed in the catalog on the event loop.

    `spec` is the model's own, `offered` what callers send and get: another one where there is a pipeline.
    `runners` is a free list: an executor thread takes one, or makes one where none is free, and puts it back.
    `golden_passed` counts the golden examples that passed at load. `failing` holds those that fail as things stand, by
    name, with what is wrong; `examined` is set while one is run. `shadows` are offered what has been answered, and
    `capture` as one of them, which is offered what was refused as well.
    """

    model: str
    number: int
    path: Path
    digest: str
    manifest: ModelManifest
    version_manifest: VersionManifest
    spec: ModelSpec
    device: str
    session: ort.InferenceSession
    pipeline: Pipeline | None
    batching: Batching
    lane: Lane
    prepare_lane: Lane | None
    slot: Slot
    bindable: bool
    default_timeout_ns: int
    offered: ModelSpec = field(init=False)
    takes: Takes = field(init=False)
    signature: Signature = field(init=False)
    encoder: ResponseEncoder = field(init=False)
    trailing: Metadata = field(init=False)
    notices: dict[str, str] = field(init=False)
    output_names: frozenset[str] = field(init=False)
    plain_outputs: bool = field(init=False)
    name: str = field(init=False)
    golden_passed: int = 0
    failing: dict[str, str] = field(default_factory=dict)
    shadows: "tuple[ShadowTap | CaptureTap, ...]" = ()
    capture: "CaptureTap | None" = None
    runners: list[Runner] = field(default_factory=list)
    in_flight: int = 0
    examined: bool = False
    retired: bool = False
    canary: Any = None
    """Where a canary takes a share of this version's requests: its `CanaryRoute`."""
    ragged: Ragged | None = None
    """How rows of different length are padded into one batch; None: they are not."""
    cost_conditions: tuple[str, ...] = ()
    """What the costs of its batches are kept by."""
    staging: Staging | None = None
    """Through which buffers batches go to a device; None: they are run where they are assembled."""
    in_canary: bool = False
    """Whether it is one of a canary's arms."""
    signer: str = ""
    """Who signed the content; empty where nobody did, or nobody asked."""
    evidence_required: bool = field(init=False)
    """Whether an answer leaves when its record is on disk, and not before."""
    subject: Subject | None = field(init=False)
    """What the records of its decisions have in common; None: they are not recorded."""

    def __post_init__(self) -> None:
        self.name = str(self.number)
        self.offered = self.spec if self.pipeline is None else self.pipeline.offered
        self.takes = Takes(self.spec, self.pipeline, self.version_manifest.model_tensors)
        self.signature = self.takes.signature
        self.tell()
        self.output_names = frozenset(t.name for t in self.offered.outputs)
        evidence = self.manifest.evidence
        self.evidence_required = evidence.mode == "required"
        content = bytes.fromhex(self.digest.removeprefix("sha256:"))
        self.subject = (
            None
            if evidence.mode == "off"
            else Subject(self.model, self.number, content, self.signer, evidence.sample)
        )
        if self.pipeline is not None:
            self.slot.name_steps([f"{phase} {name}" for phase, name in self.pipeline.steps])
        self.plain_outputs = all(t.datatype != "BYTES" for t in self.offered.outputs)

    def tell(self, more: Metadata = ()) -> None:
        """Has each answer from now on say `more`, in trailing metadata and in parameters, beside which version has
        answered."""
        self.trailing = ((MODEL_VERSION, self.name), (MODEL_DIGEST, self.digest), *more)
        self.notices = {name.replace("-", "_"): text for name, text in more}
        outputs = [(tensor.name, tensor.datatype) for tensor in self.offered.outputs]
        self.encoder = ResponseEncoder(self.model, self.name, self.digest, outputs, self.notices.items())

    @property
    def is_sound(self) -> bool:
        """Whether health may say that it serves; requests are answered in any case."""
        return not self.failing or not self.heeds_examples

    @property
    def heeds_examples(self) -> bool:
        """Whether health follows its golden examples."""
        return self.manifest.serving.golden.while_failing != "report"

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way that needs the session."""
        return bool(self.in_flight) or self.examined

    def borrow_runner(self) -> Runner:
        """A runner that nobody else uses until it is put back with `return_runner`."""
        try:
            return self.runners.pop()
        except IndexError:
            prepared = self.pipeline is not None
            shared = self.batching.allowed
            if self.staging is None:
                rows = self.lane.limit_rows
                runner = Runner(self.session, self.spec, rows, shared, prepared, self.ragged)
            else:
                runner = self.staging.runner(self.spec, shared, prepared, self.ragged)
            runner.may_bind = runner.may_bind and self.bindable
            return runner

    def return_runner(self, runner: Runner) -> None:
        """Puts a borrowed runner back; its last outputs may be gone then."""
        if self.staging is not None:
            runner.release()
        self.runners.append(runner)

    def release(self) -> None:
        """Lets go of the session and its buffers; call once retired and no longer busy.

        The lane refers back to its version, and that circle would keep a gigabyte until the collector comes by.
        """
        self.lane.owner = None
        if self.prepare_lane is not None:
            self.prepare_lane.owner = None
        self.runners.clear()
        self.staging = None
        del self.session

    def __repr__(self) -> str:
        return f"<version {self.number} of {self.model!r}>"
