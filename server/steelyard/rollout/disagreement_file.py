"""A file of disagreements: its tables, how it is opened and checked, and how it is read beside its writer."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from steelyard.errors import DataError
from steelyard.rollout.rules.breach import GRADES, Grade

# What makes a file of SQLite ours: "SyDg", and the version of its tables.
APPLICATION_ID = 0x53794467
SCHEMA = 1
BUSY_S = 5.0

ERASED = "erased"
"""What stands for the errors of a disagreement whose messages were erased."""

CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

TABLES = f"""
    CREATE TABLE rollouts (
        rollout TEXT PRIMARY KEY, place INTEGER NOT NULL,
        small INTEGER NOT NULL, medium INTEGER NOT NULL, large INTEGER NOT NULL, worst INTEGER NOT NULL
    );
    CREATE TABLE disagreements (
        place INTEGER PRIMARY KEY AUTOINCREMENT, rollout TEXT NOT NULL, decision_id TEXT NOT NULL,
        severity REAL NOT NULL, grade INTEGER NOT NULL, broken TEXT NOT NULL, about TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        request BLOB NOT NULL, primary_answer BLOB, primary_error TEXT, candidate_answer BLOB, candidate_error TEXT,
        UNIQUE (rollout, decision_id)
    );
    CREATE INDEX by_grade ON disagreements (rollout, grade, severity);
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {SCHEMA};
"""
_LISTED = "decision_id, rollout, severity, grade, broken, about, bytes"


class Unreadable(Exception):
    """A file is corrupt, or something else made it."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A disagreement without its messages."""

    decision_id: str
    rollout: str
    severity: float
    grade: Grade
    broken: tuple[str, ...]
    about: dict[str, Any]
    bytes: int
    """What its request and both answers take."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A disagreement with all that it takes to replay it: an answer is a message, or the text of an error."""

    listed: Listed
    request: bytes
    primary: bytes | str
    candidate: bytes | str


class DisagreementsReader:
    """The disagreements of a file, for another process than the one that writes it, or where none does."""

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Raises:
            DataError: it is not there, cannot be read, is corrupt, or something else made it.
        """
        if not path.is_file():
            raise DataError(f"{path}: expected a file of disagreements, there is none")
        try:
            with opened(path) as connection:
                connection.execute("PRAGMA query_only = ON")
                check(connection, path)
        except Unreadable as exc:
            raise DataError(str(exc)) from exc
        self._path = path
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def list(self, rollout: str) -> list[Listed]:
        """All that are kept of a rollout, the most severe first, and of those as severe the newest first.

        Raises:
            DataError: the file cannot be read.
        """
        found = _read(
            self._connection,
            self._path,
            f"SELECT {_LISTED} FROM disagreements WHERE rollout = ? ORDER BY severity DESC, place DESC",
            (rollout,),
        )
        return [_listed(row) for row in found]

    def counts(self, rollout: str) -> tuple[int, int]:
        """How many disagreements of a rollout there were, and how many of them are here.

        Raises:
            DataError: the file cannot be read.
        """
        seen = _read(
            self._connection,
            self._path,
            "SELECT small + medium + large + worst FROM rollouts WHERE rollout = ?",
            (rollout,),
        )
        kept = _read(
            self._connection, self._path, "SELECT count(*) FROM disagreements WHERE rollout = ?", (rollout,)
        )
        return (seen[0][0] if seen else 0), kept[0][0]

    def get(self, decision_id: str, rollout: str | None = None) -> Disagreement | None:
        """The disagreement over a decision, or None; of any rollout where none is given, the most severe.

        Raises:
            DataError: the file cannot be read.
        """
        found = _read(
            self._connection,
            self._path,
            f"SELECT {_LISTED}, request, primary_answer, primary_error, candidate_answer, candidate_error "
            "FROM disagreements WHERE decision_id = ? AND (rollout = ? OR ? IS NULL) ORDER BY severity DESC LIMIT 1",
            (decision_id, rollout, rollout),
        )
        if not found:
            return None
        request, primary, primary_error, candidate, candidate_error = found[0][7:]
        return Disagreement(
            _listed(found[0][:7]),
            request,
            primary if primary_error is None else primary_error,
            candidate if candidate_error is None else candidate_error,
        )


@dataclass(frozen=True, slots=True)
class Emptied:
    """What `erase_disagreements` has done to a file."""

    found: list[tuple[str, bytes]]
    """The decisions that were emptied, each with its request."""
    before: set[str]
    """Decisions of which something had been emptied before."""
    problem: str
    """Why copies of what was emptied, now or before, may be left beside the file; else empty."""


def erase_disagreements(path: Path, wanted: Callable[[str, bytes], bool]) -> Emptied:
    """Empties the requests and answers of disagreements in a file, beside its writer, all or none.

    wanted: whether a decision, with its request, is meant. What the file says of them beside that stays.

    Raises:
        DataError: the file cannot be used, and nothing was emptied.
    """
    problem = ""
    try:
        with opened(path) as connection, closing(connection):
            check(connection, path)
            # What was there is overwritten, and not only forgotten.
            connection.execute("PRAGMA secure_delete = ON")
            rows = connection.execute("SELECT place, decision_id, request FROM disagreements").fetchall()
            found = [row for row in rows if row[2] and wanted(row[1], row[2])]
            if found:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "UPDATE disagreements SET request = x'', primary_answer = NULL, primary_error = ?, "
                    "candidate_answer = NULL, candidate_error = ?, about = '{}' WHERE place = ?",
                    [(ERASED, ERASED, place) for place, _, _ in found],
                )
                connection.execute("COMMIT")
            problem = _log_problem(connection, path)
    except (Unreadable, sqlite3.DatabaseError) as exc:
        raise DataError(f"{path}: cannot be erased from: {exc}") from exc
    before = {decision_id for _, decision_id, request in rows if not request}
    return Emptied([(decision_id, request) for _, decision_id, request in found], before, problem)


def _log_problem(connection: sqlite3.Connection, path: Path) -> str:
    """Copies the log of what was written, which still holds what was emptied, also by an earlier call, and cuts it off;
    says why that cannot be."""
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.DatabaseError as exc:
        return f"{path}: its log cannot be emptied: {exc}"
    return f"{path}: its log cannot be emptied while others read it: erase again" if busy else ""


def _read(
    connection: sqlite3.Connection, path: Path, query: str, values: tuple[Any, ...]
) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.DatabaseError as exc:
        raise DataError(f"{path}: cannot be read: {exc}") from exc


def _listed(row: tuple[Any, ...]) -> Listed:
    decision_id, rollout, severity, grade, broken, about, size = row
    return Listed(
        decision_id, rollout, severity, GRADES[grade], tuple(json.loads(broken)), json.loads(about), size
    )


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection, closed again where setting it up fails.

    Raises:
        Unreadable: it turns out that this is no file of ours.
        DataError: the file cannot be used.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        yield connection
    except BaseException as exc:
        if connection is not None:
            connection.close()
        if isinstance(exc, sqlite3.DatabaseError):
            if exc.sqlite_errorcode & 0xFF in CORRUPT:
                raise Unreadable(f"{path}: expected a file of disagreements, it is corrupt: {exc}") from exc
            raise DataError(f"{path}: cannot be opened: {exc}") from exc
        raise


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises Unreadable where the file is not ours, is of another version, or does not hold together."""
    made_by = connection.execute("PRAGMA application_id").fetchone()[0]
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    if (made_by, schema) != (APPLICATION_ID, SCHEMA):
        raise Unreadable(
            f"{path}: expected a file of disagreements of version {SCHEMA}, "
            + (f"came version {schema}" if made_by == APPLICATION_ID else "something else made it")
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise Unreadable(f"{path}: expected a file of disagreements, it is corrupt: {str(found)[:200]}")
