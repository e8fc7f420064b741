"""SQL over all that is recorded: DuckDB on the sealed files and the open journal, read-only and within bounds."""

import threading
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from steelyard.errors import EvidenceError, InvalidRequest
from steelyard.evidence.batch import to_table
from steelyard.evidence.columns import SCHEMA, STAGES
from steelyard.evidence.gone import Gone
from steelyard.evidence.notes_file import notes_table
from steelyard.evidence.store import open_notes, sealed_notes, snapshot

# A query that takes longer is broken off, and so is one that needs more memory.
TIMEOUT_S = 60.0
MEMORY = "1GiB"

# Retention may remove a file between the moment in which it is found and the one in which it is read.
_TRIES = 3

_NEVER = 1 << 62

# Of decisions that carry one key there may be millions: 30 MB of ids at a time.
_PAGE_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query gives. `more`: there was more than was asked for."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """Which decisions are asked for."""

    model: str = ""
    since_unix_ns: int = 0
    until_unix_ns: int = _NEVER
    where: str = ""
    """An SQL expression over the columns of `decisions`; "flag" is the name of a flag that it has."""


def decisions(data: Path, asked: Asked, limit: int, timeout_s: float = TIMEOUT_S) -> Rows:
    """The last decisions of those asked for, the last one first.

    Raises InvalidRequest for an expression that is none, EvidenceError where the data cannot be read or the bounds
    are met.
    """
    condition = f"({asked.where})" if asked.where.strip() else "true"
    _check_expression(condition)
    if _names_flag(condition):
        condition = (
            "decision_id IN (SELECT d.decision_id FROM decisions d LEFT JOIN flags f USING (decision_id) "
            f"WHERE {condition})"
        )
    conditions = [
        condition,
        f"received >= make_timestamp_ns({asked.since_unix_ns})",
        f"received < make_timestamp_ns({asked.until_unix_ns})",
        *([f"model = {_quoted(asked.model)}"] if asked.model else []),
    ]
    # One after the other, not their union: over files alone DuckDB reads the other columns of those rows only that it
    # shows, which takes a fifth of the time.
    found = _tried(
        data,
        asked,
        [
            f"SELECT * EXCLUDE (record) FROM {part} WHERE {' AND '.join(conditions)} "
            f"ORDER BY received DESC LIMIT {limit + 1}"
            for part in ("open_part", "sealed_part")
        ],
        timeout_s,
    )
    received = found.columns.index("received")
    rows = sorted(found.rows, key=lambda row: row[received], reverse=True)
    return Rows(found.columns, rows[:limit], len(rows) > limit)


def ask(data: Path, sql: str, limit: int, timeout_s: float = TIMEOUT_S) -> Rows:
    """What one SELECT over `decisions`, `notes` and `flags` gives. Raises as `decisions`."""
    _check_select(sql)
    query = sql.strip().rstrip(";")
    found = _tried(data, Asked(), [f"SELECT * FROM ({query}\n) LIMIT {limit + 1}"], timeout_s)
    return Rows(found.columns, found.rows[:limit], len(found.rows) > limit)


def models_of(data: Path, column: str, value: str, among: Container[str]) -> dict[str, str]:
    """The ids of those decisions `among` some whose `column` has a value, with their models.

    Looks through them by pages of ids, so that any number of others may have the value too. Raises as `decisions`.
    """
    found: dict[str, str] = {}
    last = "00000000-0000-0000-0000-000000000000"
    while True:
        rows = ask(
            data,
            f"SELECT decision_id::VARCHAR, model FROM decisions WHERE {column} = {_quoted(value)} "
            f"AND decision_id > {_quoted(last)}::UUID ORDER BY decision_id LIMIT {_PAGE_ROWS}",
            _PAGE_ROWS,
        ).rows
        found |= {decision_id: model for decision_id, model in rows if decision_id in among}
        if len(rows) < _PAGE_ROWS:
            return found
        last = max(decision_id for decision_id, _ in rows)


def _tried(data: Path, asked: Asked, queries: Sequence[str], timeout_s: float) -> Rows:
    """The rows of all the queries, which have the same columns."""
    for attempt in range(1, _TRIES + 1):
        try:
            with _connected(data, asked) as connection, _bounded(connection, timeout_s):
                rows: list[tuple[Any, ...]] = []
                for query in queries:
                    found = connection.execute(query)
                    rows += found.fetchall()
                return Rows([column[0] for column in found.description or ()], rows, False)
        except duckdb.IOException as error:
            if attempt == _TRIES or not _is_gone(error):
                raise EvidenceError(f"the sealed files cannot be read: {_first_line(error)}") from None
        except duckdb.InterruptException:
            raise EvidenceError(f"the query took longer than {timeout_s:g} s") from None
        except duckdb.OutOfMemoryException as error:
            raise EvidenceError(f"the query needs more than {MEMORY}: {_first_line(error)}") from None
        except duckdb.Error as error:
            raise InvalidRequest(f"the query cannot be answered: {_first_line(error)}") from None
    raise AssertionError


@contextmanager
def _connected(data: Path, asked: Asked) -> Iterator[duckdb.DuckDBPyConnection]:
    sealed, unsealed = snapshot(data, asked.model)
    files = [file for file in sealed if file.overlaps(asked.since_unix_ns, asked.until_unix_ns)]
    tail = pa.concat_tables(
        [SCHEMA.empty_table(), *(to_table(part.records, part.file.worker) for part in unsealed)]
    )
    notes = [note for file in open_notes(data) for note in file.notes]
    sealed_notes_there = sealed_notes(data)
    with duckdb.connect(
        config={
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
            "memory_limit": MEMORY,
            "temp_directory": "",
        }
    ) as connection:
        connection.register("open_decisions", tail)
        connection.register("open_notes", notes_table(notes))
        milliseconds = ", ".join(f"{name} / 1e6 AS {name[:-3]}_ms" for name in STAGES)
        shown = (
            f"* REPLACE (lower(hex(trace_id)) AS trace_id), {milliseconds}, "
            "(flags & 4) != 0 AS flagged, (flags & 8) != 0 AS marked"
        )
        sealed_rows = _files([file.path for file in files], "open_decisions LIMIT 0")
        connection.execute(f"CREATE VIEW open_part AS SELECT {shown} FROM open_decisions")
        connection.execute(f"CREATE VIEW sealed_part AS SELECT {shown} FROM {sealed_rows}")
        connection.execute("CREATE VIEW decisions AS FROM open_part UNION ALL FROM sealed_part")
        sealed_ones = _files(sealed_notes_there, "open_notes LIMIT 0")
        connection.execute(f"CREATE VIEW notes AS FROM open_notes UNION ALL (SELECT * FROM {sealed_ones})")
        connection.execute(
            "CREATE VIEW flags AS SELECT decision_id, unnest(json_extract_string(note, '$.flags[*]')) AS flag "
            "FROM notes WHERE kind = 'flags'"
        )
        _confine(connection, [*(file.path for file in files), *sealed_notes_there])
        yield connection


def _files(files: Sequence[Path], nothing: str) -> str:
    """What follows FROM for the rows of those files."""
    return f"read_parquet([{', '.join(_quoted(str(path)) for path in files)}])" if files else nothing


def _confine(connection: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """From here on nothing is opened but these files, and nothing of this is taken back."""
    paths = ", ".join(_quoted(str(path)) for path in files)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


@contextmanager
def _bounded(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _check_expression(condition: str) -> None:
    """Raises InvalidRequest where it is not one expression, such as one that ends the query and begins another."""
    try:
        duckdb.SQLExpression(condition)
    except duckdb.Error as error:
        raise InvalidRequest(f"the expression cannot be read: {_first_line(error)}") from None


def _check_select(sql: str) -> None:
    """Raises InvalidRequest where it is not one SELECT."""
    with duckdb.connect() as connection:
        try:
            statements = connection.extract_statements(sql)
        except duckdb.Error as error:
            raise InvalidRequest(f"the query cannot be read: {_first_line(error)}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
        raise InvalidRequest(f"expected one SELECT, came {kinds}")


def _names_flag(condition: str) -> bool:
    return any(word == "flag" for word in _words(condition))


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() or char == "_" else " " for char in text.lower()).split()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _is_gone(error: duckdb.Error) -> bool:
    """Whether a file is no longer there: when it was to be found, or to be opened."""
    return any(said in str(error) for said in ("No files found", "No such file"))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [repr(error)])[0][:500]


def files_with_request(files: Sequence[Path], request_id: str, most: int) -> list[Path]:
    """The sealed files that hold the last decisions of a request id, at most so many of either.

    Filters in the files say of nearly all that they do not. Raises EvidenceError where one cannot be read, `Gone` where
    one is no longer there.
    """
    if not files:
        return []
    paths = ", ".join(_quoted(str(path)) for path in files)
    query = (
        f"SELECT filename, max(received) AS last FROM read_parquet([{paths}], filename = true) "
        "WHERE request_id = ? GROUP BY filename ORDER BY last DESC LIMIT ?"
    )
    try:
        with (
            duckdb.connect(config={"autoload_known_extensions": False, "memory_limit": MEMORY}) as connection,
            _bounded(connection, TIMEOUT_S),
        ):
            return [Path(row[0]) for row in connection.execute(query, [request_id, most]).fetchall()]
    except duckdb.Error as error:
        kind = Gone if _is_gone(error) else EvidenceError
        raise kind(f"the sealed files cannot be read: {_first_line(error)}") from None
