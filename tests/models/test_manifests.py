"""model.toml and version.toml: what they hold, what they default to, what they refuse."""

import contextlib
import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steelyard.errors import ManifestError
from steelyard.models.governance import Governance
from steelyard.models.manifest import ModelManifest, read_model_manifest, unowned
from steelyard.models.version_manifest import VersionManifest, read_version_manifest


@pytest.fixture
def model(tmp_path):
    def read(text: str) -> ModelManifest:
        path = tmp_path / "model.toml"
        path.write_text(text)
        return read_model_manifest(path)

    return read


@pytest.fixture
def version(tmp_path):
    def read(text: str) -> VersionManifest:
        path = tmp_path / "version.toml"
        path.write_text(text)
        return read_version_manifest(path)

    return read


def test_nothing_there_means_the_defaults(tmp_path, model, version):
    assert read_model_manifest(tmp_path / "none.toml") == model("") == ModelManifest()
    assert read_version_manifest(tmp_path / "none.toml") == version("") == VersionManifest()
    serving = ModelManifest().serving
    assert serving.versions.latest == 1
    assert serving.batching == "auto"
    assert serving.device == "auto"
    assert serving.warmup == 1


def test_every_key_of_serving(model):
    serving = model(
        """
        [serving]
        device = "cuda"
        instances = 2
        threads = 3
        max_batch = 32
        max_queue_delay_us = 500
        preferred_batch_sizes = [8, 16, 32]
        batching = true
        batch_tolerance = { absolute = 0, relative = 1e-2 }
        max_queue_requests = 100
        max_queue_bytes = "1 GiB"
        default_timeout_ms = 250
        warmup = 5
        versions = { list = [1, 3] }
        [serving.session_options]
        graph_optimization = "basic"
        extra = { "session.intra_op.allow_spinning" = "0" }
        [serving.golden]
        at_load = "report"
        interval_s = 60
        while_failing = "not_serving"
        """
    ).serving
    assert serving.device == "cuda:0"
    assert (serving.instances, serving.threads, serving.max_batch) == (2, 3, 32)
    assert serving.preferred_batch_sizes == (8, 16, 32)
    assert serving.batching is True
    assert serving.batch_tolerance.absolute == 0
    assert serving.max_queue_bytes == 1 << 30
    assert serving.warmup == 5
    assert serving.versions.list == (1, 3)
    assert serving.session_options.extra == {"session.intra_op.allow_spinning": "0"}
    golden = serving.golden
    assert (golden.at_load, golden.interval_s, golden.while_failing) == ("report", 60.0, "not_serving")


@pytest.mark.parametrize(("text", "runs"), [("true", 1), ("false", 0), ("0", 0), ("7", 7)])
def test_warmup_is_a_switch_or_a_number(model, text, runs):
    assert model(f"[serving]\nwarmup = {text}").serving.warmup == runs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[serving]\nmax_bach = 3", "[serving] unknown key 'max_bach', did you mean 'max_batch'?"),
        ("[servin]\nmax_batch = 3", "unknown key 'servin', did you mean 'serving'?"),
        (
            "[serving.session_options]\ngraph_optimisation = 1",
            "[serving.session_options] unknown key 'graph_optimisation', did you mean",
        ),
        ("[serving.versions]\nlast = 1", "[serving.versions] unknown key 'last', did you mean 'latest'?"),
        ("[rollout]\nkeep = 2", "[rollout] unknown key 'keep'"),
        ("[rollout]\ndefault_label = '2'", "default_label: expected a label of 1 to 63 lower-case letters"),
        ("[[rollout.compare]]\noutput = 'y'\nrule = 'top_k'", "k: expected how many"),
        ("[[rollout.compare]]\nrule = 'close'", "output: expected the name of one"),
        ("[[rollout.compare]]\nrule = 'expression'", "expression: expected one"),
        ("[[rollout.compare]]\noutput = 'y'\nleast = 0.5", "least: the rule close has no such key"),
        (
            "[[rollout.gate.guardrail]]\non = 'error_rate'\nmargin = 0.02\nharm = 0.01",
            "harm: expected at least the margin of 0.02, got 0.01",
        ),
        (
            "[[rollout.gate.guardrail]]\non = 'slower_than'\nmargin = 0.02\nharm = 0.02",
            "threshold_ms: goes with slower_than",
        ),
        (
            "[[rollout.gate.guardrail]]\non = 'error_rate'\nmargin = 0.01\nharm = 0.02\n" * 2,
            "guardrail: expected each once, got error_rate, error_rate",
        ),
        ("[governance]\nowners = 'x'", "[governance] unknown key 'owners', did you mean 'owner'?"),
        ("serving = 3", "[serving] expected a table, got 3"),
        ("[[serving]]\nmax_batch = 1", "[serving] expected a table"),
        ("[serving]\nmax_batch = 0", "[serving] max_batch: expected at least 1, got 0"),
        ("[serving]\nmax_batch = '8'", "[serving] max_batch: expected a whole number, got '8'"),
        ("[serving]\nmax_batch = 8.0", "[serving] max_batch: expected a whole number, got 8.0"),
        ("[serving]\nmax_batch = true", "[serving] max_batch: expected a whole number, got true"),
        ("[serving]\nmax_batch = 99999999999999999999", "[serving] max_batch: expected at most 65536"),
        ("[serving]\ninstances = 0", "[serving] instances: expected at least 1, got 0"),
        ("[serving]\nbatching = 1", "[serving] batching: expected true, false or 'auto', got 1"),
        ("[serving]\nbatching = 'on'", "[serving] batching: expected true, false or 'auto', got 'on'"),
        (
            "[serving]\ndevice = 'gpu'",
            "[serving] device: expected auto, cpu, cuda:N or tensorrt:N, got 'gpu'",
        ),
        ("[serving]\ndevice = 'cuda:-1'", "[serving] device: expected auto"),
        ("[serving]\ndevice = 0", "[serving] device: expected text, got 0"),
        ("[serving]\nmax_queue_bytes = '1 GB'", "[serving] max_queue_bytes: expected a number of bytes"),
        ("[serving]\nwarmup = -1", "[serving] warmup: expected at least 0, got -1"),
        ("[serving]\nwarmup = 'yes'", "[serving] warmup: expected a whole number, got 'yes'"),
        ("[serving]\npreferred_batch_sizes = 4", "preferred_batch_sizes: expected a list, got 4"),
        ("[serving]\npreferred_batch_sizes = [8, 4]", "expected ascending sizes, each once, got [8, 4]"),
        ("[serving]\npreferred_batch_sizes = [4, 4]", "expected ascending sizes, each once, got [4, 4]"),
        ("[serving]\npreferred_batch_sizes = [0]", "preferred_batch_sizes.0: expected at least 1, got 0"),
        ("[serving]\nmax_batch = 4\npreferred_batch_sizes = [8]", "none above max_batch = 4, got 8"),
        (
            "[serving]\nversions = {}",
            "[serving.versions] expected exactly one of latest, all and list, got none",
        ),
        ("[serving]\nversions = { latest = 1, all = true }", "got latest and all"),
        ("[serving]\nversions = { all = false }", "[serving.versions] all: expected true, got false"),
        ("[serving]\nversions = { list = [] }", "[serving.versions] list: expected a list that is not empty"),
        ("[serving]\nversions = { list = [0] }", "[serving.versions] list.0: expected at least 1, got 0"),
        ("[serving]\nversions = 'latest'", "[serving.versions] expected a table, got 'latest'"),
        ("[serving.batch_tolerance]\nabsolute = nan", "[serving.batch_tolerance] absolute: expected"),
        (
            "[serving.batch_tolerance]\nrelative = -1",
            "[serving.batch_tolerance] relative: expected at least 0",
        ),
        ("[serving.session_options]\nextra = { a = 1 }", "extra.a: expected text, got 1"),
        ("[serving.golden]\ninterval_s = -1", "[serving.golden] interval_s: expected at least 0"),
        ("[serving.golden]\ninterval_s = 0.001", "interval_s: expected 0 or at least 0.01, got 0.001"),
        ("[serving.golden]\ninterval_s = inf", "[serving.golden] interval_s: expected"),
        ("[serving.golden]\nat_load = 'ignore'", "[serving.golden] at_load: expected"),
        (
            f"[serving.session_options]\nextra = {{ a = '{'x' * 4097}' }}",
            "extra.a: expected at most 4096 characters",
        ),
        (
            "[serving.session_options.extra]\n" + "".join(f"k{i} = ''\n" for i in range(65)),
            "at most 64 entries",
        ),
        ("[governance]\nowner = ''", "[governance] owner: expected text that is not empty, got ''"),
        (f"[governance]\nowner = '{'x' * 5000}'", "[governance] owner: expected at most 4096 characters"),
        (
            "[governance]\nretire_on = '2027-01-01'",
            "[governance] retire_on: expected a date such as 2027-03-31",
        ),
        ("[governance]\nretire_on = 2027-01-01T00:00:00Z", "[governance] retire_on: expected a date such as"),
        (
            "[governance]\ndeveloped_by = 'Ada'\nvalidated_by = ' ada '",
            "expected someone else than developed_by",
        ),
        (
            "[governance]\nlast_validation = 2026-01-02\nnext_validation = 2026-01-02",
            "next_validation: expected a date after last_validation",
        ),
    ],
)
def test_what_model_toml_refuses(tmp_path, model, text, expected):
    with pytest.raises(ManifestError) as caught:
        model(text)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'model.toml'}: ")
    assert expected in message
    assert len(message) < 1000


def test_governance(model):
    governance = model(
        """
        [governance]
        owner = "documents@example.org"
        backup_owner = "platform@example.org"
        tier = "2"
        purpose = "routes uploads"
        intended_use = "internal uploads"
        restrictions = "no decisions about people"
        developed_by = "Ada"
        validated_by = "Grace"
        last_validation = 2026-03-01
        next_validation = 2027-03-01
        retire_on = 2028-01-01
        retirement_runbook = "https://example.org/retire"
        replacement = "magika-next"
        """
    ).governance
    assert all(getattr(governance, key) is not None for key in Governance.model_fields)
    assert governance.retire_on == datetime.date(2028, 1, 1)


def test_what_production_misses(model):
    assert unowned(ModelManifest()) == ["owner", "developed_by", "validated_by", "purpose", "retire_on"]
    some = model("[governance]\nowner = 'a'\ndeveloped_by = 'd'\nvalidated_by = 'b'\npurpose = 'c'")
    assert unowned(some) == ["retire_on"]
    unchecked = "[governance]\nowner = 'a'\nvalidated_by = 'b'\npurpose = 'c'\nretire_on = 2030-01-01\n"
    assert unowned(model(unchecked)) == ["developed_by"]
    assert unowned(model(f"{unchecked}developed_by = 'd'")) == []


def test_every_key_of_version_toml(version):
    manifest = version(
        """
        batched = true
        [[input]]
        name = "x"
        datatype = "INT32"
        shape = [-1, 2048]
        [[output]]
        name = "y"
        labels = ["a", "b"]
        [[output]]
        name = "z"
        labels = "labels.txt"
        [lineage]
        training_data_digest = "sha256:00"
        code_revision = "abc"
        parent = "magika/1"
        training_command = "make train"
        notes = "quantized"
        """
    )
    assert manifest.batched is True
    assert manifest.input[0].shape == (-1, 2048)
    assert manifest.output[0].labels == ("a", "b")
    assert manifest.output[0].datatype is None
    assert manifest.output[1].labels == "labels.txt"
    assert manifest.lineage.notes == "quantized"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[inputs]]\nname = 'x'", "unknown key 'inputs', did you mean 'input'?"),
        ("input = 3", "[input] expected a list, got 3"),
        ("input = [3]", "[input 1] expected a table, got 3"),
        ("[[input]]\nshape = [1]", "[input 1] name: expected, but not given"),
        ("[[input]]\nname = ''", "[input 1] name: expected text that is not empty"),
        (
            "[[input]]\nname = 'x'\n[[input]]\nname = 'y'\nshap = [1]",
            "[input 2] unknown key 'shap', did you mean 'shape'?",
        ),
        (
            "[[input]]\nname = 'x'\ndatatype = 'FP23'",
            "[input 1] datatype: unknown datatype, did you mean 'FP32'?, got",
        ),
        ("[[input]]\nname = 'x'\nshape = [-2]", "[input 1] shape.0: expected at least -1, got -2"),
        ("[[input]]\nname = 'x'\nshape = [9223372036854775808]", "[input 1] shape.0: expected less than"),
        ("[[input]]\nname = 'x'\nshape = ['n']", "[input 1] shape.0: expected a whole number, got 'n'"),
        ("[[input]]\nname = 'x'\nshape = " + str([1] * 65), "[input 1] shape: expected at most 64 entries"),
        ("[[input]]\nname = 'x'\n[[input]]\nname = 'x'", "[input] tensor 'x' is described twice"),
        ("[[input]]\nname = 'x'\nlabels = ['a']", "[input 1] unknown key 'labels'"),
        ("[[output]]\nname = 'x'\nlabels = ['a', 3]", "[output 1] labels: expected texts, but label 2 is 3"),
        (
            "[[output]]\nname = 'x'\nlabels = 3",
            "[output 1] labels: expected a list of labels, or the path of a file",
        ),
        ("[[output]]\nname = 'x'\nlabels = ''", "[output 1] labels: expected a list of labels"),
        (
            f"[[output]]\nname = 'x'\nlabels = ['{'x' * 1025}']",
            "label 1 has 1025 characters, expected at most 1024",
        ),
        ("batched = 'yes'", "batched: expected true or false, got 'yes'"),
        ("batched = 1", "batched: expected true or false, got 1"),
        ("[lineage]\nnote = 'x'", "[lineage] unknown key 'note', did you mean 'notes'?"),
        ("[lineage]\nnotes = 1", "[lineage] notes: expected text, got 1"),
    ],
)
def test_what_version_toml_refuses(version, text, expected):
    with pytest.raises(ManifestError) as caught:
        version(text)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_half_a_manifest_is_refused(model):
    whole = '[serving]\nmax_batch = 8\nversions = { latest = 2 }\n[governance]\nowner = "a"\n'
    model(whole)
    with pytest.raises(ManifestError, match="not TOML"):
        model(whole[:-3])


def test_a_directory_is_no_manifest(tmp_path):
    with pytest.raises(ManifestError, match="cannot be read: Is a directory"):
        read_model_manifest(tmp_path)


TOML_VALUES = st.recursive(
    st.integers() | st.floats() | st.booleans() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["serving", "rollout", "governance", "x"]),
    st.dictionaries(
        st.sampled_from(["max_batch", "versions", "batching", "warmup", "owner", "é"]), TOML_VALUES
    ),
)
def test_any_document_is_a_manifest_or_refused_in_words(tmp_path_factory, table, values):
    tomli_w = pytest.importorskip("tomli_w")
    path: Path = tmp_path_factory.getbasetemp() / "model.toml"
    path.write_text(tomli_w.dumps({table: values}))
    with contextlib.suppress(ManifestError):
        read_model_manifest(path)
