"""From a version's directory to a version that is warm: digest, session, specification, check, warm-up.

Everything here may take long and runs on a loading thread; what it makes touches nothing that is served.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort

from steelyard.clock import Clock, SystemClock
from steelyard.errors import LoadFailed, SteelyardError
from steelyard.models.companions import check_external_files
from steelyard.models.digest import digest_over, file_digests
from steelyard.models.governance import Governance, utc_date
from steelyard.models.graph import describe
from steelyard.models.manifest import ModelManifest
from steelyard.models.repository import GRAPH_FILE
from steelyard.models.signature import SIGNATURE_FILE, read_signers, signer_of
from steelyard.models.spec import ModelSpec
from steelyard.models.version_manifest import VERSION_MANIFEST, VersionManifest, read_version_manifest
from steelyard.observe.logs import log
from steelyard.pipelines.declared import declared_pipeline
from steelyard.pipelines.plan import Pipeline
from steelyard.runtime.device_session import DeviceSession
from steelyard.runtime.devices import installed_distributions, refuse_both_distributions, resolve
from steelyard.runtime.independence import check
from steelyard.runtime.pace import Pace
from steelyard.runtime.padding import resized
from steelyard.runtime.ragged import Ragged
from steelyard.runtime.runner import Array, Runner
from steelyard.runtime.samples import candidates
from steelyard.runtime.session import providers_available
from steelyard.runtime.staged import Staging
from steelyard.runtime.staging import SLOTS
from steelyard.runtime.warmup import measure, unbatched
from steelyard.scheduling.cost import CostModel
from steelyard.scheduling.policy import LanePolicy
from steelyard.serving.costs import Costs
from steelyard.serving.golden import Inputs, check_golden, real_rows
from steelyard.serving.raggedness import (
    LENGTH_BUDGET_NS,
    MEASURED_LENGTHS,
    decide_ragged,
    declared_pads,
)
from steelyard.serving.staging import open_version, stage
from steelyard.serving.takes import Takes
from steelyard.serving.verdicts import Verdicts
from steelyard.serving.version import Batching
from steelyard.wire import encode_bytes_tensor
from steelyard.wire.types import InferRequest

# Rows that the check of independence runs together: enough for every scale of the made-up floats.
CHECKED_ROWS = 4

# Goes up with every change of the check or of the inputs made up for it: what was found by another is found anew.
CHECK_VERSION = 2

# In the place of the digest of rows that are real.
MADE_UP = "made up"


@dataclass(frozen=True, slots=True)
class Environment:
    """What loading needs to know of the server: its thread budget, its profile, and what was found out before."""

    threads: int
    profile: str
    verdicts: Verdicts
    inline_below_ns: int = 0
    costs: Costs = field(default_factory=lambda: Costs(None))
    clock: Clock = field(default_factory=SystemClock)
    signers: Path | None = None
    """The keys and certificates of those who may sign versions; None: signatures are not looked at."""


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """A version that could be served; the event loop makes a `ServedVersion` of it."""

    digest: str
    version_manifest: VersionManifest
    spec: ModelSpec
    device: str
    session: ort.InferenceSession
    pipeline: Pipeline | None
    batching: Batching
    cost: CostModel
    policy: LanePolicy
    bindable: bool
    golden_passed: int
    failing: dict[str, str]
    """Golden examples that failed, and what is wrong with each; empty where such a version is refused."""
    cost_conditions: tuple[str, ...] = ()
    """What the costs of batches depend on, to keep them by."""
    ragged: Ragged | None = None
    ragged_reason: str = ""
    """Why rows of different length are padded or are not; empty where nothing is ragged."""
    staging: Staging | None = None
    """Through which buffers batches go to a device; None: they are run where they are assembled."""
    signer: str = ""
    """Who signed it, as was verified; empty where nobody did, or nobody looked."""


@dataclass(slots=True)
class MadeUpTensor:
    """A made-up input in the place of a decoded one."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: memoryview


@dataclass(slots=True)
class MadeUpRequest:
    """As much of a request as a runner looks at."""

    inputs: list[MadeUpTensor]


def load_version(
    name: str,
    path: Path,
    manifest: ModelManifest,
    environment: Environment,
    pace: Pace | None = None,
    goes_on: str | None = None,
) -> LoadedVersion:
    """Loads the version in `path` and warms it up; pauses between the steps as `pace` has it.

    goes_on: the content with which it may be loaded though the model's last day is over.
    Raises a `SteelyardError` that says why it cannot be served.
    """
    pace = Pace() if pace is None else pace
    if environment.profile == "production":
        _refuse_ungoverned(name, manifest.governance, environment, goes_on is not None)
    check_external_files(path / GRAPH_FILE)
    files = file_digests(path)
    digest = digest_over(files)
    if goes_on is not None and digest != goes_on:
        raise LoadFailed(
            f"model {name!r}: its last day is over, and only the content that was served then goes on, "
            f"{goes_on[:19]}; this is {digest[:19]}"
        )
    signer = _signer(name, path, files, environment)
    pace.pause()
    version_manifest = read_version_manifest(path / VERSION_MANIFEST)
    serving = manifest.serving
    installed = installed_distributions()
    refuse_both_distributions(installed)
    device = resolve(serving.device, providers_available(), installed)
    threads = min(serving.threads or 1, environment.threads)
    session = open_version(path / GRAPH_FILE, device, threads, serving)
    pace.pause()
    spec = describe(session.get_inputs(), session.get_outputs(), version_manifest, path)
    pipeline = declared_pipeline(version_manifest, spec, path)
    pads = declared_pads(version_manifest, spec, pipeline)
    _refuse_unbindable(spec)
    golden = check_golden(
        path,
        session,
        spec,
        pipeline,
        Takes(spec, pipeline, version_manifest.model_tensors),
        refuse=serving.golden.at_load == "refuse",
    )
    pace.pause()
    trial = Trial(session, spec, real_rows(golden.inputs, CHECKED_ROWS) if spec.batched else None)
    batching = decide_batching(trial, manifest, digest, device.name, threads, environment.verdicts)
    pace.pause()
    max_batch = serving.max_batch if batching.allowed else 1
    ragged, ragged_reason = (
        decide_ragged(trial.run, trial.inputs, trial.rows_digest == MADE_UP, spec, manifest, pads, pipeline)
        if batching.allowed
        else (None, "requests are not batched" if pads else "")
    )
    cost = CostModel()
    conditions = (digest, *_conditions(manifest, device.name, threads))
    bindable = False
    staging = None
    if trial.inputs is not None:
        # Rows that may not be put together may also come out as more or fewer than went in.
        bindable = (batching.allowed or not spec.batched) and trial.binding_agrees()
        if bindable and isinstance(session, DeviceSession):
            staging = stage(session, device.name, spec, serving, max_batch, trial.request(max_batch))
            pace.pause()
        if serving.warmup:
            kept = environment.costs.find(conditions)
            first = None if ragged is None else MEASURED_LENGTHS[0]
            run = trial.runner_of(max_batch, bindable, ragged, first, staging)
            measured = measure(run, max_batch, serving.warmup - 1, pace=pace)
            run.release()
            if not serving.preferred_batch_sizes and (why := unbatched(measured, max_batch)):
                batching = Batching(True, f"{batching.reason}; {why}")
            shape = trial.shape(pipeline is not None) if first is None else (first,)
            # The loop must not wait for a device, however short its runs are.
            cost.learn(measured, environment.inline_below_ns if device.name == "cpu" else 0, shape)
            if kept is not None:
                cost.restore(kept)
            if ragged is not None:
                for length in MEASURED_LENGTHS[1:]:
                    _measure_length(trial, ragged, length, cost, pace)
    # Whoever asks for larger batches than the runtime is fastest with gets them by naming preferred sizes.
    if serving.preferred_batch_sizes:
        cost.efficient_rows = max_batch
    policy = LanePolicy(
        max_batch=max_batch,
        max_queue_delay_ns=serving.max_queue_delay_us * 1000,
        preferred=serving.preferred_batch_sizes if batching.allowed else (),
        max_queue_requests=serving.max_queue_requests,
        max_queue_bytes=serving.max_queue_bytes,
        instances=serving.instances
        or (max(1, environment.threads // threads) if staging is None else min(SLOTS, environment.threads)),
        threads=threads,
    )
    return LoadedVersion(
        digest,
        version_manifest,
        spec,
        device.name,
        session,
        pipeline,
        batching,
        cost,
        policy,
        bindable,
        golden.passed,
        golden.failing,
        conditions,
        ragged,
        ragged_reason,
        staging,
        signer,
    )


def _refuse_ungoverned(name: str, governance: Governance, environment: Environment, goes_on: bool) -> None:
    """Raises LoadFailed for what the production profile does not serve."""
    if governance.missing:
        raise LoadFailed(
            f"model {name!r}: profile 'production' serves no model that nobody owns; "
            f"[governance] lacks {', '.join(governance.missing)}"
        )
    if governance.is_over(utc_date(environment.clock.unix_ns())) and not goes_on:
        instead = f"ask {governance.replacement} in its place, or " if governance.replacement else ""
        raise LoadFailed(
            f"model {name!r}: its last day of service was {governance.retire_on} (UTC): {instead}have its owner "
            f"({governance.owner}) extend it with steelyard retire --extend"
        )


def _signer(name: str, path: Path, files: Mapping[str, str], environment: Environment) -> str:
    """Who signed a version. Raises LoadFailed where its signature is wrong, or the profile insists on one."""
    if environment.signers is None:
        return ""
    # Read each time: whoever is no longer trusted loads nothing more, without a restart.
    signer = signer_of(path, files, read_signers(environment.signers))
    if signer is not None:
        return signer
    if environment.profile == "production":
        raise LoadFailed(
            f"profile 'production' serves no version that is not signed, where model_signers is set: "
            f"expected {SIGNATURE_FILE}"
        )
    log("version.unsigned", level=logging.WARNING, model=name, version=path.name, profile=environment.profile)
    return ""


def _measure_length(trial: "Trial", ragged: Ragged, length: int, cost: CostModel, pace: Pace) -> None:
    """Measures rows of another length, unless that is known from an earlier run or the model does not take it."""
    most = cost.efficient_rows or 1
    if length in cost.lengths():
        return
    try:
        run = trial.runner_of(most, False, ragged, length)
        cost.learn_more(measure(run, most, pace=pace, budget_ns=LENGTH_BUDGET_NS, least_rows_ns=0), (length,))
    except Exception as error:  # ONNX Runtime's exceptions have no common base
        log("warmup.length_refused", level=logging.DEBUG, length=length, reason=str(error)[:300])


def _conditions(manifest: ModelManifest, device: str, threads: int) -> tuple[str, ...]:
    """What runs of one content depend on besides it."""
    options = manifest.serving.session_options.model_dump_json()
    return f"onnxruntime {ort.__version__}", f"{device}, {threads} threads, {options}"


def _refuse_unbindable(spec: ModelSpec) -> None:
    """ONNX Runtime's Python interface takes BF16 only by binding and strings only without."""
    datatypes = {tensor.datatype for tensor in (*spec.inputs, *spec.outputs)}
    if {"BF16", "BYTES"} <= datatypes:
        raise LoadFailed(
            "a model with both BF16 and BYTES tensors cannot be run through ONNX Runtime's Python interface"
        )


class Trial:
    """A session, tried before it is served: with the rows of golden examples where there are any, else with made-up
    inputs. `inputs` is None where none of them would run."""

    def __init__(self, session: ort.InferenceSession, spec: ModelSpec, real: Inputs | None = None) -> None:
        self._session = session
        self._spec = spec
        self.inputs: Mapping[str, Array] | None = None
        self.problem = "the model has no inputs"
        self.rows_digest = MADE_UP
        if real is not None:
            self.rows_digest = digest_of(real)
        for inputs in [real] if real is not None else candidates(spec, CHECKED_ROWS):
            try:
                self.run(inputs)
            except Exception as error:  # ONNX Runtime's exceptions have no common base
                self.problem = " ".join(str(error).split())[:300]
            else:
                self.inputs = inputs
                break

    @property
    def spec(self) -> ModelSpec:
        return self._spec

    def shape(self, prepared: bool) -> tuple[int, ...]:
        """What requests that are like `inputs` have as their key; prepared: whether a pipeline makes them."""
        assert self.inputs is not None
        start = 1 if self._spec.batched else 0
        dims = [
            (dim, size)
            for tensor in self._spec.inputs
            for dim, size in zip(tensor.dims[start:], self.inputs[tensor.name].shape[start:], strict=True)
        ]
        if prepared:
            return tuple(size for _, size in dims) if any(dim < 0 for dim, _ in dims) else ()
        return tuple(size for dim, size in dims if dim < 0)

    def request(self, rows: int) -> InferRequest:
        """`inputs`, over and over, as a request of so many rows; of a model without a batch axis, as they are."""
        assert self.inputs is not None
        inputs = self.inputs
        if self._spec.batched:
            inputs = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}
        return made_up(self._spec, inputs)

    def run(self, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """One run by a runner that keeps nothing and binds nothing."""
        runner = Runner(self._session, self._spec, capacity=0, shared=False)
        runner.may_bind = False
        return self._run_with(runner, inputs)

    def binding_agrees(self) -> bool:
        """Whether a run into bound outputs gives what a plain run gives; where the graph states wrong output shapes
        it cannot, and plain runs serve."""
        assert self.inputs is not None
        rows = len(next(iter(self.inputs.values()))) if self._spec.batched else 1
        runner = Runner(self._session, self._spec, capacity=rows)
        if not runner.may_bind:
            return False
        try:
            bound = self._run_with(runner, self.inputs)
        except Exception:  # as above
            return False
        plain = self.run(self.inputs)
        return all(a.shape == b.shape for a, b in zip(bound, plain, strict=True))

    def runner_of(
        self,
        capacity: int,
        bindable: bool,
        ragged: Ragged | None = None,
        length: int | None = None,
        staging: Staging | None = None,
    ) -> "SizedRuns":
        """Runs of any number of rows up to `capacity`, the way that requests will be run; of a `length` where rows are
        `ragged`."""
        assert self.inputs is not None
        inputs = self.inputs
        if ragged is not None and length is not None:
            rows = len(next(iter(inputs.values())))
            inputs = resized(self._spec, ragged, inputs, rows, length)
        if staging is None:
            runner = Runner(self._session, self._spec, capacity, shared=False)
        else:
            runner = staging.runner(self._spec, shared=False)
        runner.may_bind = runner.may_bind and bindable
        return SizedRuns(self._spec, inputs, runner)

    def _run_with(self, runner: Runner, inputs: Mapping[str, Array]) -> Sequence[Array]:
        rows = len(next(iter(inputs.values()))) if self._spec.batched else 1
        shape, arrays = runner.fill([made_up(self._spec, inputs)], rows, ())
        return runner.run(shape, arrays, rows)


class SizedRuns:
    """Callable with a number of rows: runs that many made-up rows."""

    def __init__(self, spec: ModelSpec, inputs: Mapping[str, Array], runner: Runner) -> None:
        self._spec = spec
        self._inputs = inputs
        self._runner = runner
        self._requests: dict[int, InferRequest] = {}

    def release(self) -> None:
        """Lets go of what the runner shares with others."""
        self._runner.release()

    def __call__(self, rows: int) -> None:
        request = self._requests.get(rows)
        if request is None:
            inputs = self._inputs
            if self._spec.batched:
                inputs = {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}
            request = self._requests[rows] = made_up(self._spec, inputs)
        shape, arrays = self._runner.fill([request], rows, ())
        self._runner.run(shape, arrays, rows)


def digest_of(inputs: Inputs) -> str:
    """The SHA-256 of tensors: their names, datatypes, shapes and values."""
    whole = hashlib.sha256()
    for name, array in sorted(inputs.items()):
        values = repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
        about = repr((name, array.dtype.str, array.shape, len(values)))
        whole.update(about.encode() + values)
    return whole.hexdigest()


def made_up(spec: ModelSpec, inputs: Mapping[str, Array]) -> InferRequest:
    """A request that holds `inputs`."""
    tensors = []
    for tensor in spec.inputs:
        array = np.asarray(inputs[tensor.name], order="C")
        is_bytes = tensor.datatype == "BYTES"
        data = encode_bytes_tensor(array.ravel().tolist()) if is_bytes else array.tobytes()
        tensors.append(MadeUpTensor(tensor.name, tensor.datatype, array.shape, memoryview(data)))
    return MadeUpRequest(tensors)  # type: ignore[return-value]


def decide_batching(
    trial: Trial, manifest: ModelManifest, digest: str, device: str, threads: int, verdicts: Verdicts
) -> Batching:
    """Whether this version's requests may share a batch, and why."""
    wish = manifest.serving.batching
    if not trial.spec.batched:
        return Batching(False, "the model has no batch axis")
    if wish != "auto":
        return Batching(bool(wish), f"model.toml says batching = {str(wish).lower()}")
    tolerance = manifest.serving.batch_tolerance
    conditions = (
        digest,
        f"{tolerance.absolute!r},{tolerance.relative!r}",
        *_conditions(manifest, device, threads),
        f"check {CHECK_VERSION}, rows {trial.rows_digest}",
    )
    verdict = verdicts.find(*conditions)
    if verdict is None:
        if trial.inputs is None:
            return Batching(
                False,
                f"no made-up input would run, so rows could not be checked for independence ({trial.problem}): "
                "set batching = true if they are independent",
            )
        outputs = [tensor.name for tensor in trial.spec.outputs]
        try:
            verdict = check(trial.run, trial.inputs, outputs, tolerance.absolute, tolerance.relative)
        except SteelyardError as error:
            return Batching(False, f"rows could not be checked for independence: {error}")
        except Exception as error:  # as above
            return Batching(
                False, f"rows could not be checked for independence: {' '.join(str(error).split())[:300]}"
            )
        verdicts.keep(verdict, *conditions)
    return Batching(verdict.independent, verdict.reason)
