"""The model repository of the demonstration: magika's model as it is, and the same in eight bits."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata, resources
from pathlib import Path

from steelyard.demo.corpus import find_files
from steelyard.demo.features import MODEL_FILE, FeatureSpec
from steelyard.demo.quantize import CALIBRATION_FILES, RECIPE, quantize
from steelyard.demo.questions import Question, choose
from steelyard.models.add import add_version
from steelyard.models.governance import Governance
from steelyard.models.manifest import (
    MODEL_MANIFEST,
    ModelManifest,
    Serving,
    VersionPolicy,
    read_model_manifest,
)
from steelyard.models.repository import GRAPH_FILE
from steelyard.models.rollout import CompareRule, GateManifest, Guardrail, Rollout
from steelyard.models.version_manifest import (
    VERSION_MANIFEST,
    InputManifest,
    Lineage,
    OutputManifest,
    VersionManifest,
    read_version_manifest,
)

MODEL = "filetype"
INPUT = "file"
OUTPUT = "target_label"
AS_PACKAGED = 1
QUANTIZED = 2

CALIBRATION_LIST = "calibration.txt"

MANIFEST = ModelManifest(
    # Batches of four are what this model is fastest with on CPUs; larger ones are slower than single rows.
    # Version 1 is in production; version 2 is loaded because a label stands for it.
    serving=Serving(versions=VersionPolicy(list=(AS_PACKAGED,)), max_batch=4, preferred_batch_sizes=(4,)),
    rollout=Rollout(
        # The type is what callers act on.
        compare=(CompareRule(output=OUTPUT, rule="top_1"),),
        gate=GateManifest(
            # Several times what it takes where one file in forty is told differently.
            max_requests=5000,
            guardrail=(
                # One file in twenty may be told differently; one in ten is no longer the same model.
                Guardrail(on="disagreement", margin=0.05, harm=0.1),
                # None is expected to fail, and to be sure of that to within two in a hundred takes 450 files.
                Guardrail(on="error_rate", margin=0.02, harm=0.04),
            ),
        ),
    ),
    governance=Governance(
        owner="demo",
        tier="demonstration",
        purpose="Tells the type of a file from its first and last bytes.",
        intended_use="Showing Steelyard at work on a real model and real files.",
        restrictions="Not for decisions that matter: nobody has validated it here.",
        developed_by="The magika project, https://github.com/google/magika",
    ),
)


def prepare(directory: Path, spec: FeatureSpec, roots: Sequence[Path], say: Callable[[str], None]) -> Path:
    """Makes the repository below `directory`, or finds the one of an earlier run; returns its path.

    `say` is told what takes time. A repository that was made of another model than the package ships now, or that
    takes something else than files or has no gate, is made anew.
    """
    repository = directory / "models"
    source = Path(str(resources.files("magika").joinpath(MODEL_FILE)))
    packaged = repository / MODEL / str(AS_PACKAGED)
    if packaged.exists() and (
        _sha256(packaged / GRAPH_FILE) != _sha256(source)
        or read_version_manifest(packaged / VERSION_MANIFEST).input != inputs_of(spec)
        or not read_model_manifest(repository / MODEL / MODEL_MANIFEST).rollout.gate.guardrail
    ):
        shutil.rmtree(repository)
    directory.mkdir(parents=True, exist_ok=True)
    if not packaged.exists():
        say("adding the model that the magika package ships as version 1")
        release = f"magika {metadata.version('magika')}, {MODEL_FILE}"
        given = VersionManifest(
            input=inputs_of(spec), output=outputs_of(spec), lineage=Lineage(notes=release)
        )
        manifest = None if (repository / MODEL / "model.toml").exists() else MANIFEST
        add_version(repository, MODEL, source, version=AS_PACKAGED, given=given, model=manifest)
    if not (repository / MODEL / str(QUANTIZED)).exists():
        say(f"quantizing it to eight bits as version 2, calibrated on {CALIBRATION_FILES} files")
        chosen = choose(find_files(roots), spec, CALIBRATION_FILES).asked
        _add_quantized(repository, spec, source, chosen)
        paths = "".join(f"{question.file.path}\n" for question in chosen)
        (directory / CALIBRATION_LIST).write_text(paths, encoding="utf-8")
    return repository


def calibrated_on(directory: Path) -> frozenset[str]:
    """The files that version 2 was calibrated on: asking it about those would flatter it."""
    text = (directory / CALIBRATION_LIST).read_text(encoding="utf-8")
    return frozenset(text.splitlines())


def _add_quantized(repository: Path, spec: FeatureSpec, source: Path, chosen: Sequence[Question]) -> None:
    digests = sorted(hashlib.sha256(question.file.content).hexdigest() for question in chosen)
    lineage = Lineage(
        parent=str(AS_PACKAGED),
        training_data_digest="sha256:" + hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        notes=f"{RECIPE}, on {len(chosen)} files; training_data_digest is theirs.",
    )
    with tempfile.TemporaryDirectory() as scratch:
        # The quantizer writes a file beside what it reads, and nothing may be written into an installed package.
        origin = Path(shutil.copyfile(source, Path(scratch, "packaged.onnx")))
        target = Path(scratch, GRAPH_FILE)
        quantize(origin, [question.row for question in chosen], target)
        given = VersionManifest(input=inputs_of(spec), output=outputs_of(spec), lineage=lineage)
        add_version(repository, MODEL, target, version=QUANTIZED, given=given)


def inputs_of(spec: FeatureSpec) -> tuple[InputManifest, ...]:
    """Whole files, of which the model sees the windows that `extract` takes from them."""
    windows = {
        "step": "windows",
        "begin": spec.begin_tokens,
        "end": spec.end_tokens,
        "block": spec.block_bytes,
        "pad": spec.padding_token,
        "minimum": spec.min_tokens,
    }
    return (InputManifest(name=INPUT, steps=(windows,)),)


def outputs_of(spec: FeatureSpec) -> tuple[OutputManifest, ...]:
    return (OutputManifest(name=OUTPUT, labels=spec.labels),)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
