"""docs/tabular.md: its example compiles, and it names every step, option, kind and rule."""

import re
import tomllib
from pathlib import Path

from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.declaration import TabularTable
from steelyard.pipelines.tabular.plan import compile_plan
from steelyard.pipelines.tabular.problems import RULES
from steelyard.pipelines.tabular.steps import STEPS

PAGE = (Path(__file__).parents[2] / "docs" / "tabular.md").read_text(encoding="utf-8")


def test_the_example_compiles() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    plan = compile_plan(TabularTable.model_validate(tomllib.loads(example[1])))
    assert plan.tensors["input"].feature_names == (
        "dep_delay",
        "dep_delay is missing",
        "carrier=AA",
        "carrier=B6",
        "carrier=UA",
        "departure hour",
        "departure weekday",
    )


def test_every_step_and_option_is_named() -> None:
    lines = {
        match[1]: match[0]
        for match in re.finditer(r"^\| `(\w+)` \|.*$", PAGE.split("## Steps")[1], re.MULTILINE)
    }
    assert set(lines) == set(STEPS)
    for name, step in STEPS.items():
        for option in step.model_fields.keys() - {"step"}:
            assert f"`{option}`" in lines[name], f"{name} has {option}"


def test_every_kind_and_rule_is_named() -> None:
    for name in [*(kind.name.lower() for kind in Kind), *RULES]:
        assert f"`{name}`" in PAGE
