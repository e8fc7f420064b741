"""The dashboard of a model: JSON that Grafana takes, about that model alone."""

import json
import re
from pathlib import Path

import pytest

from steelyard.observe.dashboard import dashboard

METRICS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def expressions(model: str) -> list[str]:
    return [target["expr"] for panel in json.loads(dashboard(model))["panels"] for target in panel["targets"]]


def test_a_model_has_one_dashboard_and_no_other_model_has_it():
    assert dashboard("churn") == dashboard("churn")
    first, second = (json.loads(dashboard(name)) for name in ("churn", "prices"))
    assert first["uid"] != second["uid"]
    # Grafana takes no longer ones.
    assert len(json.loads(dashboard("é" * 120))["uid"]) <= 40
    assert "prices" not in json.dumps(first)


def test_panels_do_not_lie_over_each_other():
    panels = json.loads(dashboard("churn"))["panels"]
    places = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_the_model_is_named_as_promql_spells_it():
    asked = expressions('a "b" é')
    assert any(r'{model="a \"b\" é"}' in one for one in asked)
    # What is of the whole server alone names none.
    assert [one for one in asked if "model=" not in one] == [
        "sum by (record) (rate(steelyard_decisions_total[$__rate_interval]))"
    ]


@pytest.mark.parametrize("asked", expressions("churn"))
def test_what_is_asked_is_whole(asked: str):
    for opened, closed in ("()", "{}", "[]"):
        assert asked.count(opened) == asked.count(closed)
    assert re.search(r"steelyard_\w+", asked)
