"""The disagreements that are kept: a bounded store in one SQLite file, stratified by severity.

One process writes a file; others may read it meanwhile.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from steelyard.errors import DataError
from steelyard.rollout.rules.breach import GRADES, Grade, grade_of

# What makes a file of SQLite ours: "SyDg", and the version of its tables.
APPLICATION_ID = 0x53794467
SCHEMA = 1

# Rollouts whose disagreements one file holds; with the next one, the oldest rollout's go. What bounds the file is this
# times `kept` and `kept_bytes`.
MAX_ROLLOUTS = 8
MAX_ERROR_CHARS = 2000
MAX_ABOUT_BYTES = 64 << 10
# Of the write-ahead log, once it was copied: one large disagreement must not leave a large file behind.
JOURNAL_BYTES = 4 << 20
BUSY_S = 5.0

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_TABLES = f"""
    CREATE TABLE rollouts (
        rollout TEXT PRIMARY KEY, place INTEGER NOT NULL,
        small INTEGER NOT NULL, medium INTEGER NOT NULL, large INTEGER NOT NULL, worst INTEGER NOT NULL
    );
    CREATE TABLE disagreements (
        place INTEGER PRIMARY KEY AUTOINCREMENT, rollout TEXT NOT NULL, decision_id TEXT NOT NULL,
        severity REAL NOT NULL, grade INTEGER NOT NULL, broken TEXT NOT NULL, about TEXT NOT NULL, bytes INTEGER NOT NULL,
        request BLOB NOT NULL, primary_answer BLOB, primary_error TEXT, candidate_answer BLOB, candidate_error TEXT,
        UNIQUE (rollout, decision_id)
    );
    CREATE INDEX by_grade ON disagreements (rollout, grade, severity);
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {SCHEMA};
"""
_LISTED = "decision_id, rollout, severity, grade, broken, about, bytes"


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


def shares(kept: int) -> dict[Grade, int]:
    """How many of `kept` each grade may have: a quarter each, and what is left over goes to the worse ones."""
    quarter, left = divmod(kept, len(GRADES))
    return {grade: quarter + (place >= len(GRADES) - left) for place, grade in enumerate(GRADES)}


class Disagreements:
    """The writer's store: at most `kept` disagreements a rollout, and `kept_bytes` of their messages.

    Within a grade every disagreement has the same chance of being kept, whenever it came, so that early ones do not
    crowd out later ones; which it is, is decided by the rollout's id and the count. Those of the worst grade are all
    equally bad. Where bytes run out, the least severe go first, and of those the oldest.

    A file that is corrupt, or that something else made, is set aside under the same name with `.unreadable`, and
    `problem` says so; a new one is begun. One thread at a time.
    """

    def __init__(self, path: Path, kept: int, kept_bytes: int) -> None:
        """Opens the file, or makes it, for its owner alone.

        Raises:
            DataError: the file cannot be opened, made, or set aside.
        """
        self._path = path
        self._shares = shares(kept)
        self._kept_bytes = kept_bytes
        self.problem: str | None = None
        """Why a file was set aside, or None."""
        self._connection = self._open_or_replace()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def keep(
        self,
        decision_id: str,
        rollout: str,
        severity: float,
        broken: Sequence[str],
        request: bytes,
        primary: bytes | str,
        candidate: bytes | str,
        about: dict[str, Any],
    ) -> bool:
        """Counts a disagreement and keeps it where it has a place; whether it did. An answer given as text is an error.

        `about` is what else is to be shown, plain enough for JSON. A decision that is already kept is not kept again.

        Raises:
            ValueError: the severity is not above 0, or `about` is larger than 64 KiB as JSON.
            DataError: the file cannot be written.
        """
        if not severity > 0:
            raise ValueError(f"expected a severity above 0, got {severity}")
        told = json.dumps(about)
        if len(told) > MAX_ABOUT_BYTES:
            raise ValueError(
                f"expected at most {MAX_ABOUT_BYTES} bytes about a disagreement, got {len(told)}"
            )
        row = (
            *(
                rollout,
                decision_id,
                severity,
                GRADES.index(grade_of(severity)),
                json.dumps(list(broken)),
                told,
            ),
            *(
                len(request) + len(primary) + len(candidate),
                request,
                *_columns(primary),
                *_columns(candidate),
            ),
        )
        try:
            with self._writing() as connection:
                return self._keep(connection, row)
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode & 0xFF not in _CORRUPT:
                raise DataError(f"{self._path}: cannot be written: {exc}") from exc
            self._connection.close()
            self._set_aside(str(exc))
            self._connection = self._open_or_replace()
            return False

    def _keep(self, connection: sqlite3.Connection, row: tuple[Any, ...]) -> bool:
        rollout, decision_id, severity, grade, size = row[0], row[1], row[2], row[3], row[6]
        name = GRADES[grade]
        known = connection.execute(
            "SELECT 1 FROM disagreements WHERE rollout = ? AND decision_id = ?", (rollout, decision_id)
        ).fetchone()
        if known is not None:
            return False
        self._admit(connection, rollout)
        (seen,) = connection.execute(
            f"UPDATE rollouts SET {name} = {name} + 1 WHERE rollout = ? RETURNING {name}", (rollout,)
        ).fetchone()
        if size > self._kept_bytes or not self._shares[name]:
            return False
        places = [
            place
            for (place,) in connection.execute(
                "SELECT place FROM disagreements WHERE rollout = ? AND grade = ? ORDER BY place",
                (rollout, grade),
            )
        ]
        if len(places) >= self._shares[name]:
            slot = Random(f"{rollout}/{name}/{seen}").randrange(seen)
            if slot >= len(places):
                return False
            connection.execute("DELETE FROM disagreements WHERE place = ?", (places[slot],))
        if not self._make_room(connection, rollout, severity, size):
            return False
        connection.execute(
            "INSERT INTO disagreements (rollout, decision_id, severity, grade, broken, about, bytes, request, "
            "primary_answer, primary_error, candidate_answer, candidate_error) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        return True

    @staticmethod
    def _admit(connection: sqlite3.Connection, rollout: str) -> None:
        """Makes a place for a rollout that is not there; the oldest ones go."""
        new = connection.execute(
            "INSERT OR IGNORE INTO rollouts SELECT ?, coalesce(max(place), 0) + 1, 0, 0, 0, 0 FROM rollouts",
            (rollout,),
        ).rowcount
        if new:
            old = "SELECT rollout FROM rollouts ORDER BY place DESC LIMIT -1 OFFSET ?"
            connection.execute(f"DELETE FROM disagreements WHERE rollout IN ({old})", (MAX_ROLLOUTS,))
            connection.execute(f"DELETE FROM rollouts WHERE rollout IN ({old})", (MAX_ROLLOUTS,))

    def _make_room(self, connection: sqlite3.Connection, rollout: str, severity: float, size: int) -> bool:
        """Drops what is less severe, or older and no more severe, until `size` bytes fit; drops nothing if they cannot."""
        (held,) = connection.execute(
            "SELECT coalesce(sum(bytes), 0) FROM disagreements WHERE rollout = ?", (rollout,)
        ).fetchone()
        excess = held + size - self._kept_bytes
        dropped = []
        for place, freed in connection.execute(
            "SELECT place, bytes FROM disagreements WHERE rollout = ? AND severity <= ? ORDER BY severity, place",
            (rollout, severity),
        ):
            if excess <= 0:
                break
            dropped.append((place,))
            excess -= freed
        if excess > 0:
            return False
        connection.executemany("DELETE FROM disagreements WHERE place = ?", dropped)
        return True

    def forget(self, rollout: str) -> int:
        """Removes all of a rollout, from the file as well; how many disagreements that were.

        Raises:
            DataError: the file cannot be written.
        """
        try:
            with self._writing() as connection:
                removed = connection.execute(
                    "DELETE FROM disagreements WHERE rollout = ?", (rollout,)
                ).rowcount
                connection.execute("DELETE FROM rollouts WHERE rollout = ?", (rollout,))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.DatabaseError as exc:
            raise DataError(f"{self._path}: cannot be written: {exc}") from exc
        return removed

    def list(self, rollout: str) -> list[Listed]:
        """As `list_disagreements`, of this file."""
        return list_disagreements(self._connection, rollout)

    def get(self, decision_id: str, rollout: str | None = None) -> Disagreement | None:
        """As `get_disagreement`, of this file."""
        return get_disagreement(self._connection, decision_id, rollout)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or none."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _open_or_replace(self) -> sqlite3.Connection:
        try:
            return self._open()
        except _Unreadable as exc:
            self._set_aside(str(exc))
        try:
            return self._open()
        except _Unreadable as exc:
            raise DataError(str(exc)) from exc

    def _open(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            raise DataError(f"{self._path}: cannot be opened: {exc.strerror}") from exc
        with _opened(self._path) as connection:
            for pragma in (
                "journal_mode = WAL",
                "synchronous = NORMAL",
                f"journal_size_limit = {JOURNAL_BYTES}",
            ):
                connection.execute(f"PRAGMA {pragma}")
            # What is forgotten is overwritten.
            connection.execute("PRAGMA secure_delete = ON")
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
            _check(connection, self._path)
        return connection

    def _set_aside(self, reason: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.unreadable")
        try:
            for ending in ("-wal", "-shm"):
                Path(f"{self._path}{ending}").unlink(missing_ok=True)
            self._path.replace(aside)
        except OSError as exc:
            raise DataError(f"{reason}; it cannot be set aside as {aside.name}: {exc.strerror}") from exc
        self.problem = f"{reason}; it was set aside as {aside.name}"


class DisagreementsReader:
    """Another process's look at a store, while its writer writes or when there is none."""

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Raises:
            DataError: it is not there, cannot be read, is corrupt, or something else made it.
        """
        if not path.is_file():
            raise DataError(f"{path}: expected a file of disagreements, there is none")
        try:
            with _opened(path) as connection:
                connection.execute("PRAGMA query_only = ON")
                _check(connection, path)
        except _Unreadable as exc:
            raise DataError(str(exc)) from exc
        self._connection = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def list(self, rollout: str) -> list[Listed]:
        """As `list_disagreements`, of this file."""
        return list_disagreements(self._connection, rollout)

    def get(self, decision_id: str, rollout: str | None = None) -> Disagreement | None:
        """As `get_disagreement`, of this file."""
        return get_disagreement(self._connection, decision_id, rollout)


class _Unreadable(Exception):
    """A file is corrupt, or something else made it."""


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection, closed again where setting it up fails.

    Raises:
        _Unreadable: it turns out that this is no file of ours.
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
            if exc.sqlite_errorcode & 0xFF in _CORRUPT:
                raise _Unreadable(f"{path}: expected a file of disagreements, it is corrupt: {exc}") from exc
            raise DataError(f"{path}: cannot be opened: {exc}") from exc
        raise


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises _Unreadable where the file is not ours, is of another version, or does not hold together."""
    made_by = connection.execute("PRAGMA application_id").fetchone()[0]
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    if (made_by, schema) != (APPLICATION_ID, SCHEMA):
        raise _Unreadable(
            f"{path}: expected a file of disagreements of version {SCHEMA}, "
            + (f"came version {schema}" if made_by == APPLICATION_ID else "something else made it")
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _Unreadable(f"{path}: expected a file of disagreements, it is corrupt: {str(found)[:200]}")


def list_disagreements(connection: sqlite3.Connection, rollout: str) -> list[Listed]:
    """All that are kept of a rollout, the most severe first, and of those as severe the newest first.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        found = connection.execute(
            f"SELECT {_LISTED} FROM disagreements WHERE rollout = ? ORDER BY severity DESC, place DESC",
            (rollout,),
        ).fetchall()
    except sqlite3.DatabaseError as exc:
        raise DataError(f"the file of disagreements cannot be read: {exc}") from exc
    return [_listed(row) for row in found]


def get_disagreement(
    connection: sqlite3.Connection, decision_id: str, rollout: str | None = None
) -> Disagreement | None:
    """The disagreement over a decision, or None; of any rollout where none is given, the most severe.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        row = connection.execute(
            f"SELECT {_LISTED}, request, primary_answer, primary_error, candidate_answer, candidate_error "
            "FROM disagreements WHERE decision_id = ? AND (rollout = ? OR ? IS NULL) ORDER BY severity DESC LIMIT 1",
            (decision_id, rollout, rollout),
        ).fetchone()
    except sqlite3.DatabaseError as exc:
        raise DataError(f"the file of disagreements cannot be read: {exc}") from exc
    if row is None:
        return None
    request, primary, primary_error, candidate, candidate_error = row[7:]
    return Disagreement(
        _listed(row[:7]),
        request,
        primary if primary_error is None else primary_error,
        candidate if candidate_error is None else candidate_error,
    )


def _listed(row: tuple[Any, ...]) -> Listed:
    decision_id, rollout, severity, grade, broken, about, size = row
    return Listed(
        decision_id, rollout, severity, GRADES[grade], tuple(json.loads(broken)), json.loads(about), size
    )


def _columns(answer: bytes | str) -> tuple[bytes | None, str | None]:
    """An answer as the columns of a message and of an error."""
    if isinstance(answer, str):
        return None, answer[:MAX_ERROR_CHARS].encode("utf-8", "replace").decode()
    return answer, None
