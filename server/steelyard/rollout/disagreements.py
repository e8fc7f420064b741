"""The disagreements that are kept: a bounded store in one SQLite file, stratified by severity.

One process writes a file; others may read it meanwhile.
"""

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any

from steelyard.errors import DataError
from steelyard.rollout.disagreement_file import (
    CORRUPT,
    TABLES,
    DisagreementsReader,
    Unreadable,
    check,
    opened,
)
from steelyard.rollout.rules.breach import GRADES, Grade, grade_of

# Rollouts whose disagreements one file holds; with the next one, the oldest rollout's go. What bounds the file is this
# times `kept` and `kept_bytes`.
MAX_ROLLOUTS = 8
MAX_ERROR_CHARS = 2000
MAX_ABOUT_BYTES = 64 << 10
# Of the write-ahead log, once it was copied: one large disagreement must not leave a large file behind.
JOURNAL_BYTES = 4 << 20


def shares(kept: int) -> dict[Grade, int]:
    """How many of `kept` each grade may have: a quarter each, and what is left over goes to the worse ones."""
    quarter, left = divmod(kept, len(GRADES))
    return {grade: quarter + (place >= len(GRADES) - left) for place, grade in enumerate(GRADES)}


class Disagreements(DisagreementsReader):
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
        grade = GRADES.index(grade_of(severity))
        size = len(request) + len(primary) + len(candidate)
        shown = (rollout, decision_id, severity, grade, json.dumps(list(broken)), told, size)
        row = (*shown, request, *_columns(primary), *_columns(candidate))
        try:
            with self._writing() as connection:
                return self._keep(connection, row)
        except sqlite3.DatabaseError as exc:
            if exc.sqlite_errorcode & 0xFF not in CORRUPT:
                raise DataError(f"{self._path}: cannot be written: {exc}") from exc
            self._connection.close()
            self._set_aside(f"{self._path}: it became corrupt: {exc}")
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
        instead = None
        if len(places) >= self._shares[name]:
            slot = Random(f"{rollout}/{name}/{seen}").randrange(seen)
            if slot >= len(places):
                return False
            instead = places[slot]
        if not self._make_room(connection, rollout, severity, size, instead):
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

    def _make_room(
        self, connection: sqlite3.Connection, rollout: str, severity: float, size: int, instead: int | None
    ) -> bool:
        """Drops the one that is replaced, then what is no more severe, until `size` bytes fit; or nothing at all."""
        (held,) = connection.execute(
            "SELECT coalesce(sum(bytes), 0) FROM disagreements WHERE rollout = ?", (rollout,)
        ).fetchone()
        excess = held + size - self._kept_bytes
        dropped = []
        for place, freed in connection.execute(
            "SELECT place, bytes FROM disagreements WHERE rollout = ? AND (severity <= ? OR place = ?) "
            "ORDER BY place = ? DESC, severity, place",
            (rollout, severity, instead, -1 if instead is None else instead),
        ):
            if excess <= 0 and place != instead:
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
        except Unreadable as exc:
            self._set_aside(str(exc))
        try:
            return self._open()
        except Unreadable as exc:
            raise DataError(str(exc)) from exc

    def _open(self) -> sqlite3.Connection:
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as exc:
            raise DataError(f"{self._path}: cannot be opened: {exc.strerror}") from exc
        with opened(self._path) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                connection.executescript(f"BEGIN; {TABLES} COMMIT;")
            check(connection, self._path)
            # What is forgotten is overwritten.
            for pragma in (
                "journal_mode = WAL",
                "synchronous = NORMAL",
                f"journal_size_limit = {JOURNAL_BYTES}",
                "secure_delete = ON",
            ):
                connection.execute(f"PRAGMA {pragma}")
        return connection

    def _set_aside(self, reason: str) -> None:
        aside = self._path.with_name(f"{self._path.name}.unreadable")
        try:
            self._path.replace(aside)
            Path(f"{self._path}-shm").unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                Path(f"{self._path}-wal").replace(f"{aside}-wal")
        except OSError as exc:
            raise DataError(f"{reason}; it cannot be set aside as {aside.name}: {exc.strerror}") from exc
        self.problem = f"{reason}; it was set aside as {aside.name}"


def _columns(answer: bytes | str) -> tuple[bytes | None, str | None]:
    """An answer as the columns of a message and of an error."""
    if isinstance(answer, str):
        return None, answer[:MAX_ERROR_CHARS].encode("utf-8", "replace").decode()
    return answer, None
