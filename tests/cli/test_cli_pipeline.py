"""`steelyard pipeline from-sklearn`: what it writes, and what it refuses."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import joblib
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler

from steelyard.cli.main import main
from steelyard.pipelines.tabular.declaration import TabularTable


@pytest.fixture
def fitted(tmp_path: Path) -> Path:
    frame = pd.DataFrame({"delay": [1.0, 2.0, 4.0], "distance": [100, 200, 400]})
    pipeline = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())])
    joblib.dump(pipeline.fit(frame, [0, 1, 1]), tmp_path / "model.joblib")
    return tmp_path / "model.joblib"


def test_steps_are_printed(fitted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline", "from-sklearn", str(fitted), "--tensor", "input"]) == 0
    out, err = capsys.readouterr()
    table = TabularTable.model_validate(tomllib.loads(out))
    assert [column.name for column in table.column] == ["delay", "distance"]
    assert table.tensor[0].name == "input"
    assert "left out, as it is the model: model (LogisticRegression)" in err


def test_steps_are_written(fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "steps.toml"
    assert main(["pipeline", "from-sklearn", str(fitted), "--output", str(output), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["columns"], said["features"], said["files"]) == (2, 2, [])
    assert tomllib.loads(output.read_text()) == said["document"]
    assert main(["pipeline", "from-sklearn", str(fitted), "--output", str(output)]) == 2
    assert "steps.toml: cannot be written: File exists" in capsys.readouterr().err


def test_long_lists_need_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "words.joblib"
    joblib.dump(OrdinalEncoder().fit(pd.DataFrame({"word": [f"w{i}" for i in range(2000)]})), path)
    assert main(["pipeline", "from-sklearn", str(path)]) == 2
    assert "expected --output, since 1 lists of categories need a file" in capsys.readouterr().err
    assert main(["pipeline", "from-sklearn", str(path), "--output", str(tmp_path / "steps.toml")]) == 0
    assert len(json.loads((tmp_path / "categories-0-word.json").read_text())) == 2000


def test_what_is_no_estimator_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "junk.pkl"
    path.write_bytes(b"junk")
    assert main(["pipeline", "from-sklearn", str(path)]) == 2
    assert "expected a joblib or pickle file" in capsys.readouterr().err
    joblib.dump({"not": "one"}, path)
    assert main(["pipeline", "from-sklearn", str(path)]) == 2
    assert "expected a fitted transformer of scikit-learn, came dict" in capsys.readouterr().err


def test_without_scikit_learn_the_extra_is_named(fitted: Path) -> None:
    program = (
        "import sys; sys.modules['sklearn'] = None; "
        "from steelyard.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "pipeline", "from-sklearn", str(fitted)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "pip install 'steelyard[sklearn]'" in done.stderr


def test_the_help_warns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pipeline", "from-sklearn", "--help"]) == 0
    out = capsys.readouterr().out
    assert "Loading a pickle runs whatever code it names" in out
    assert "Example:\n    steelyard pipeline from-sklearn" in out
