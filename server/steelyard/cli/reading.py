"""What commands read of sealed files: called in a process apart, and given back as plain values."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from steelyard.evidence.gone import looked_again
from steelyard.evidence.store import unlisted

if TYPE_CHECKING:
    from steelyard.evidence.search import Rows


class Named(TypedDict):
    """What a name stands for."""

    decisions: list[str]
    """Their ids, the last one first; at least one."""
    unlisted: list[str]
    """Files that the ledger does not name."""


class Table(TypedDict):
    """The rows of a query."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool
    unlisted: list[str]
    """Files that the ledger does not name."""


def search_decisions(data: Path, where: dict[str, Any], limit: int) -> Table:
    """As `search.decisions`; where: the fields of `search.Asked`."""
    from steelyard.evidence.search import Asked, decisions

    return _table(data, decisions(data, Asked(**where), limit))


def search_sql(data: Path, query: str, limit: int, timeout_s: float) -> Table:
    """As `search.ask`."""
    from steelyard.evidence.search import ask

    return _table(data, ask(data, query, limit, timeout_s))


def explain_decision(data: Path, name: str, repository: Path | None) -> dict[str, Any]:
    """The document of a decision, by its id or its request's. Raises ModelNotFound where there is none."""
    return looked_again(lambda: _explained(data, name, repository))


def _explained(data: Path, name: str, repository: Path | None) -> dict[str, Any]:
    # Not DuckDB, nor what else only others of these need: each command pays for what it imports.
    from steelyard.cli.explained import explained
    from steelyard.cli.named import decisions_named

    found, *others = decisions_named(data, name)
    document = explained(data, found, repository)
    document["others"] = [one.decision.decision_id for one in others]
    document["unlisted"] = unlisted(data)
    return document


def ids_named(data: Path, name: str) -> Named:
    """The decisions of an id or of a request's name. Raises ModelNotFound where there is none."""
    from steelyard.cli.named import decisions_named

    found = looked_again(lambda: decisions_named(data, name))
    ids = [one.decision.decision_id for one in found]
    return {"decisions": ids, "unlisted": unlisted(data)}


def _table(data: Path, found: "Rows") -> Table:
    return {
        "columns": list(found.columns),
        "rows": found.rows,
        "more": found.more,
        "unlisted": unlisted(data),
    }
