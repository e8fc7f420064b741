"""Versions that must be signed to be served."""

import json
import shutil
from pathlib import Path

import pytest

from steelyard.cli.main import main
from steelyard.errors import LoadFailed
from steelyard.models.manifest import ModelManifest, read_model_manifest
from steelyard.models.signature import SIGNATURE_FILE
from steelyard.serving.loading import Environment, load_version
from steelyard.serving.verdicts import Verdicts
from tests.models.test_signature import Signing, pem
from tests.support import models

OWNED = """[governance]
owner = "ann"
developed_by = "cem"
validated_by = "ben"
purpose = "prices"
retire_on = 2030-01-01
"""


@pytest.fixture
def ann(tmp_path: Path) -> Signing:
    signing = Signing()
    (tmp_path / "signers").mkdir()
    (tmp_path / "signers" / "ann.pem").write_bytes(pem(signing.key.public_key()))
    models.put(tmp_path / "models", "prices", models.scaled(), 1)
    (tmp_path / "models" / "prices" / "model.toml").write_text(OWNED)
    return signing


def signer(tmp_path: Path, profile: str) -> str:
    environment = Environment(1, profile, Verdicts(None), signers=tmp_path / "signers")
    manifest = read_model_manifest(tmp_path / "models" / "prices" / "model.toml")
    return load_version("prices", tmp_path / "models" / "prices" / "1", manifest, environment).signer


def test_production_insists_on_a_signature_and_dev_warns(ann: Signing, tmp_path: Path):
    with pytest.raises(LoadFailed, match=r"not signed, where model_signers is set: expected model\.sig"):
        signer(tmp_path, "production")
    assert signer(tmp_path, "dev") == ""
    ann.sign(tmp_path / "models" / "prices" / "1")
    assert signer(tmp_path, "production") == "ann"
    assert (
        load_version(
            "prices",
            tmp_path / "models" / "prices" / "1",
            ModelManifest(),
            Environment(1, "dev", Verdicts(None)),
        ).signer
        == ""
    )


def test_a_wrong_signature_is_refused_in_every_profile(ann: Signing, tmp_path: Path):
    Signing().sign(tmp_path / "models" / "prices" / "1")
    for profile in ("dev", "production"):
        with pytest.raises(LoadFailed, match=r"signed by none of the keys that are trusted \(ann\)"):
            signer(tmp_path, profile)


def test_check_says_who_signed(ann: Signing, tmp_path: Path, capsys):
    version = tmp_path / "models" / "prices" / "1"
    ann.sign(version)
    arguments = ["check", str(tmp_path / "models"), "--model-signers", str(tmp_path / "signers")]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"][0]["signer"] == "ann"
    assert main(arguments) == 0
    assert "signed by ann" in capsys.readouterr().out
    shutil.copy(tmp_path / "models" / "prices" / "model.toml", version / "version.txt")
    assert main([*arguments, "--json"]) == 1
    reason = json.loads(capsys.readouterr().out)["versions"][0]["reason"]
    assert reason.startswith(f"{SIGNATURE_FILE}: 'version.txt' is not among the files")
