"""The watcher: nothing that still moves is reported, and what stands still is reported as it stands."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from steelyard.models.repository import Listing, scan
from steelyard.models.watcher import Added, ManifestChanged, Modified, Removed, Watcher


def put(root: Path, path: str, content: bytes = b"x") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def test_what_is_new_is_reported_once_it_stands_still(tmp_path):
    watcher = Watcher()
    put(tmp_path, "m/1/model.onnx")
    assert watcher.observe(scan(tmp_path)) == []
    assert watcher.observe(scan(tmp_path)) == [Added("m", 1)]
    assert watcher.observe(scan(tmp_path)) == []


def test_a_version_that_is_still_being_written_is_not_reported(tmp_path):
    watcher = Watcher(scan(tmp_path))
    for size in range(1, 6):
        put(tmp_path, "m/1/model.onnx", b"x" * size)
        assert watcher.observe(scan(tmp_path)) == []
    assert watcher.observe(scan(tmp_path)) == [Added("m", 1)]


def test_what_is_loaded_already_is_not_reported(tmp_path):
    put(tmp_path, "m/1/model.onnx")
    watcher = Watcher(scan(tmp_path))
    assert watcher.observe(scan(tmp_path)) == []
    assert watcher.observe(scan(tmp_path)) == []


def test_each_kind_of_change(tmp_path):
    for path in ("a/1/model.onnx", "a/2/model.onnx", "b/1/model.onnx"):
        put(tmp_path, path)
    watcher = Watcher(scan(tmp_path))
    put(tmp_path, "a/1/model.onnx", b"other")
    shutil.rmtree(tmp_path / "a/2")
    put(tmp_path, "a/3/model.onnx")
    put(tmp_path, "b/model.toml")
    assert watcher.observe(scan(tmp_path)) == []
    assert watcher.observe(scan(tmp_path)) == [
        Modified("a", 1),
        Removed("a", 2),
        Added("a", 3),
        ManifestChanged("b"),
    ]


def test_a_version_waits_for_its_manifest(tmp_path):
    watcher = Watcher(scan(tmp_path))
    put(tmp_path, "m/1/model.onnx")
    put(tmp_path, "m/model.toml", b"[ser")
    assert watcher.observe(scan(tmp_path)) == []
    put(tmp_path, "m/model.toml", b"[serving]")
    assert watcher.observe(scan(tmp_path)) == []
    assert watcher.observe(scan(tmp_path)) == [Added("m", 1)]


def test_a_version_that_vanishes_for_a_moment_is_not_removed(tmp_path):
    put(tmp_path, "m/1/model.onnx")
    watcher = Watcher(scan(tmp_path))
    (tmp_path / "m/1").rename(tmp_path / "m/.moved")
    assert watcher.observe(scan(tmp_path)) == []
    (tmp_path / "m/.moved").rename(tmp_path / "m/1")
    assert watcher.observe(scan(tmp_path)) == []
    assert watcher.observe(scan(tmp_path)) == []


MODELS = st.sampled_from(["a", "b"])
VERSIONS = st.integers(1, 3)


class Owner(RuleBasedStateMachine):
    """Someone who changes files at will, and a server that does what the watcher says."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.watcher = Watcher()
        self.size = 0
        self.last = Listing({}, ())
        self.loaded: dict[tuple[str, int], tuple[object, object]] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def _content(self) -> bytes:
        # Sizes that never repeat: two writes within one tick of the file system's clock are told apart.
        self.size += 1
        return b"x" * self.size

    @rule(model=MODELS, version=VERSIONS, name=st.sampled_from(["model.onnx", "weights.bin", "golden/1"]))
    def write(self, model, version, name):
        put(self.root, f"{model}/{version}/{name}", self._content())

    @rule(model=MODELS)
    def write_manifest(self, model):
        put(self.root, f"{model}/model.toml", self._content())

    @rule(model=MODELS, name=st.sampled_from(["1", "2", "1/model.onnx", "model.toml", ""]))
    def remove(self, model, name):
        path = self.root / model / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    @rule(model=MODELS, old=VERSIONS, new=VERSIONS)
    def rename(self, model, old, new):
        source, target = self.root / model / str(old), self.root / model / str(new)
        if source.exists() and not target.exists():
            source.rename(target)

    @rule()
    def observe(self):
        listing = scan(self.root)
        before, now = state(self.last), state(listing)
        for change in self.watcher.observe(listing):
            if isinstance(change, ManifestChanged):
                assert manifest(listing, change.model) == manifest(self.last, change.model)
                for key in [key for key in self.loaded if key[0] == change.model]:
                    self.loaded[key] = (self.loaded[key][0], manifest(listing, change.model))
                continue
            key = (change.model, change.version)
            assert before.get(key) == now.get(key), "reported while it was still changing"
            if isinstance(change, Removed):
                del self.loaded[key]
            else:
                assert (key in self.loaded) == isinstance(change, Modified)
                self.loaded[key] = now[key]
        self.last = listing

    @rule()
    def stand_still(self):
        self.observe()
        self.observe()
        assert self.loaded == state(self.last)
        assert self.watcher.observe(self.last) == []

    @invariant()
    def nothing_is_loaded_twice(self):
        assert len(self.loaded) <= 6


def manifest(listing: Listing, model: str) -> object:
    return listing.models[model].manifest_fingerprint if model in listing.models else None


def state(listing: Listing) -> dict[tuple[str, int], tuple[object, object]]:
    return {
        (model.name, version.number): (version.fingerprint, model.manifest_fingerprint)
        for model in listing.models.values()
        for version in model.versions
    }


TestOwner = Owner.TestCase
TestOwner.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
