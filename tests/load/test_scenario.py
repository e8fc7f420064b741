"""Scenarios: what is wrong with one is said by table and key; the same seed is the same load."""

import re
from pathlib import Path

import numpy as np
import pytest

from load.bodies import make_bodies
from load.plan import choose_bodies, draw
from load.scenario import BAD_KINDS, Request, Scenario, read_scenario
from steelyard.client.answers import ModelMetadata, TensorMetadata
from steelyard.errors import ConfigError
from steelyard.wire.generated import grpc_service as pb

PHASE = '[[phase]]\narrivals = "constant"\nrate = 1000\nseconds = 1\n'
REQUEST = '[[request]]\nname = "one"\nmodel = "m"\n'


def write(directory: Path, text: str) -> Path:
    file = directory / "scenario.toml"
    file.write_text('name = "it"\n' + text)
    return file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PHASE, "[request] expected, but not given"),
        (REQUEST, "[phase] expected, but not given"),
        ("proceses = 2\n" + PHASE + REQUEST, "unknown key 'proceses', did you mean 'processes'?"),
        ("processes = 0\n" + PHASE + REQUEST, "processes: expected at least 1, got 0"),
        (
            PHASE.replace("rate", "rat") + REQUEST,
            "[phase 1 'constant'] unknown key 'rat', did you mean 'rate'?",
        ),
        (PHASE.replace("constant", "poison") + REQUEST, "unknown arrivals 'poison', did you mean 'poisson'?"),
        (PHASE.replace("1000", "-1") + REQUEST, "[phase 1 'constant'] rate: expected at least 0.0, got -1"),
        (
            PHASE.replace("1000", "9e6") * 3 + REQUEST,
            "phase: expected at most 20000000 requests in all, got 27000000",
        ),
        (
            PHASE + REQUEST + "rows = 'many'\n",
            "rows: expected a number, a list of numbers, or a range such as '8..128'",
        ),
        (PHASE + REQUEST + "rows = '9..8'\n", "rows: expected a range from less to more"),
        (PHASE + REQUEST + "lengths = [4, 0]\n", "expected at least 1, got 0"),
        (PHASE + REQUEST + "bad_share = 2\n", "[request 1] bad_share: expected at most 1.0, got 2"),
        (
            PHASE + REQUEST + "lengths = 4\nlengths_file = 'x'\n",
            "lengths: expected this or lengths_file, got both",
        ),
        (PHASE + REQUEST + "inputs.x = {low = 3}\n", "expected both low and high, or neither, got one"),
        (PHASE + REQUEST + REQUEST, "request: expected a name of its own for each, got 'one' twice"),
        ("phase = 1", "[phase] expected a list, got 1"),
        ("phase = []\nrequest = []", "phase: expected at least one, got none"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_scenario(write(tmp_path, text))
    assert said in str(refused.value)
    assert "scenario.toml" in str(refused.value)


def test_a_scenario_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a scenario, but nothing is there"):
        read_scenario(tmp_path / "none.toml")


def test_the_example_is_one() -> None:
    root = Path(__file__).parents[2]
    scenario = read_scenario(root / "load" / "scenarios" / "example.toml")
    assert {phase.arrivals for phase in scenario.phase} == {
        "constant",
        "poisson",
        "step",
        "ramp",
        "burst",
        "replay",
    }
    assert len(draw(scenario, np.random.default_rng(1)).due_s) > 1000


def test_every_key_and_default_is_in_its_page(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "load.md").read_text()
    block = re.search(r"```toml mix.toml\n(.*?)```", page, re.DOTALL)
    assert block is not None
    (tmp_path / "mix.toml").write_text(block[1])
    assert len(read_scenario(tmp_path / "mix.toml").request) == 2
    for key, field in Scenario.model_fields.items():
        if isinstance(field.default, int | float):
            assert f"| `{key}` | {field.default:,g} |" in page
    for key in {**Scenario.model_fields, **Request.model_fields}:
        assert f"`{key}`" in page or f"`[[{key}]]`" in page or key == "inputs"
    for kind in BAD_KINDS:
        assert f"`{kind}`" in page


def described(*inputs: TensorMetadata) -> dict[tuple[str, str], ModelMetadata]:
    return {("m", ""): ModelMetadata("m", ("1",), "onnx", inputs, (), {})}


def sent(scenario: Scenario, *inputs: TensorMetadata, seed: int = 1) -> tuple[np.ndarray, list[bytes]]:
    random = np.random.default_rng(seed)
    table = draw(scenario, random)
    bodies = make_bodies(scenario.request, described(*inputs), random, table.replayed())
    return table.due_s, [bodies.content[place] for place in choose_bodies(scenario, table, bodies, random)]


def parsed(body: bytes) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest()
    request.ParseFromString(body)
    return request


IDS = TensorMetadata("ids", "INT64", (-1, -1))
MASK = TensorMetadata("mask", "INT64", (-1, -1))


def test_the_same_seed_is_the_same_load(tmp_path: Path) -> None:
    scenario = read_scenario(
        write(tmp_path, PHASE.replace("constant", "poisson") + REQUEST + "lengths = '4..40'\n")
    )
    one, again, other = (sent(scenario, IDS, MASK, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one[0], again[0])
    assert one[1] == again[1]
    assert one[1] != other[1]


def test_shapes_and_values_are_those_of_the_scenario(tmp_path: Path) -> None:
    text = 'rows = [1, 3]\nlengths = "4..9"\npriority = 2\ninputs.ids = {low = 5, high = 8}\n'
    scenario = read_scenario(write(tmp_path, PHASE + REQUEST + text))
    shapes = set()
    for body in set(sent(scenario, IDS, MASK)[1]):
        request = parsed(body)
        ids, mask = request.inputs
        assert list(ids.shape) == list(mask.shape)
        shapes.add(tuple(ids.shape))
        values = np.frombuffer(request.raw_input_contents[0], np.int64)
        assert len(values) == np.prod(ids.shape)
        assert set(values.tolist()) <= {5, 6, 7}
        assert request.parameters["priority"].uint64_param == 2
    assert {rows for rows, _ in shapes} == {1, 3}
    assert {length for _, length in shapes} <= set(range(4, 10))
    assert len(shapes) > 4


def test_kinds_come_by_share_and_bad_ones_among_them(tmp_path: Path) -> None:
    text = REQUEST + "share = 3\nbad_share = 0.2\n" + REQUEST.replace("one", "other") + "rows = 2\n"
    scenario = read_scenario(write(tmp_path, PHASE + text))
    bodies = sent(scenario, TensorMetadata("x", "FP32", (-1, 4)))[1]
    of_other = sum(
        len(body) < 200 and parsed(body).inputs[0].shape[0] == 2 for body in bodies if body[:1] != b"\xff"
    )
    assert 180 < of_other < 320
    assert 20 < sum(body[:1] == b"\xff" for body in bodies) < 80


def test_replayed_lengths_and_kinds_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("0,5,one\n1,9,one\n2,,other\n3,5\n")
    phase = '[[phase]]\narrivals = "replay"\nfile = "trace"\n'
    request = REQUEST + "lengths = 3\n" + REQUEST.replace("one", "other") + "lengths = 4\nshare = 0.000001\n"
    scenario = read_scenario(write(tmp_path, phase + request))
    found = [parsed(body).inputs[0].shape[1] for body in sent(scenario, IDS)[1]]
    assert found == [5, 9, 4, 5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has the shape [-1, -1]: expected lengths"),
        ("lengths = 2\ninputs.idz = {low = 1, high = 2}\n", "model 'm' has no input 'idz'; it has ids"),
        ("body = 'none'\n", "none: cannot be read"),
        ("lengths_file = 'scenario.toml'\n", "expected 1 to 1000000 whole numbers, one a line"),
        ("lengths = 2\ninputs.ids = {file = 'scenario.toml'}\n", "expected a .npy file"),
    ],
)
def test_what_does_not_fit_the_model_is_said(tmp_path: Path, text: str, said: str) -> None:
    scenario = read_scenario(write(tmp_path, PHASE + REQUEST + text))
    with pytest.raises(ConfigError) as refused:
        sent(scenario, IDS)
    assert said in str(refused.value)


def test_a_name_that_no_kind_has_is_said(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text("0,,onee\n")
    scenario = read_scenario(write(tmp_path, '[[phase]]\narrivals = "replay"\nfile = "trace"\n' + REQUEST))
    with pytest.raises(ConfigError, match="unknown request 'onee', did you mean 'one'"):
        draw(scenario, np.random.default_rng(1))
