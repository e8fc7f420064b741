"""Days that come: warnings, the last day, extensions and graces, by a clock that is moved."""

import asyncio
import contextlib
import datetime
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from steelyard.clock import ManualClock
from steelyard.config import Settings
from steelyard.errors import ConfigError, Conflict, InvalidRequest, ModelNotFound
from steelyard.evidence.extension import Extension, sign
from steelyard.evidence.governed import Governed, governed
from steelyard.evidence.log import EVENTS_FILE, EventLog, read_events
from steelyard.evidence.tlog import TransparencyLog, key_paths, log_origin
from steelyard.supervisor.directing import Directing
from steelyard.supervisor.governing import Governing
from steelyard.supervisor.label_moves import LabelMoves
from steelyard.supervisor.loads import Loads
from steelyard.supervisor.record import Record
from steelyard.supervisor.retirements import Retirements
from tests.support.waiting import until

DAY_NS = 86_400 * 1_000_000_000
# The clock's first day.
BEGIN = datetime.date(2023, 11, 14)
DIGEST = f"sha256:{'ab' * 32}"
OTHER = f"sha256:{'cd' * 32}"


class House:
    """A server's governance without its processes, over a data directory that another one can be opened on."""

    def __init__(self, root: Path, clock: ManualClock, profile: str = "production", **settings: Any) -> None:
        self.root = root
        self.clock = clock
        self.settings = Settings(repository=root / "models", data=root, profile=profile, **settings)
        self.log = EventLog(root, clock)
        self.record = Record(self.log, root / "models", clock)
        directing = Directing(self.record, list)
        moves = LabelMoves(self.record, directing)
        self.governing = Governing(self.record, directing, self.settings)
        self.retirements = Retirements(self.record, directing, moves, self.settings)
        self.loads = Loads(self.record)
        self.governing.begin()

    def serve(self, model: str, number: int, digest: str = DIGEST) -> None:
        """A worker says that it has loaded a version."""
        facts = {"golden_passed": 2, "golden_failing": [], "device": "cpu", "batching": True}
        loaded = {"digest": digest, "lineage": {"parent": "2"}, **facts}
        self.loads.reported([{"model": model, "version": number, "loaded": loaded}] * 2)
        self.loads.flush()

    async def look_on(self, day: datetime.date) -> None:
        """Moves the clock to a day and looks."""
        self.clock.advance((day - self.today).days * DAY_NS)
        await self.governing.look()

    @property
    def today(self) -> datetime.date:
        return datetime.datetime.fromtimestamp(self.clock.unix_ns() / 1e9, datetime.UTC).date()

    def kinds(self, model: str) -> list[str]:
        return [event.kind for event in self.record.events if event.model == model]

    def governed(self, model: str) -> Governed:
        found = governed(model, self.record.life(model))
        assert Governed.from_json(found.to_json()) == found
        return found


def origin(root: Path) -> str:
    """The name of the log of a house, which has one from now on."""
    TransparencyLog(root, key_paths(root, None, None), ManualClock())
    return log_origin(root, None)


def declare(root: Path, model: str, **governance: Any) -> None:
    """Writes model.toml."""
    directory = root / "models" / model
    directory.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{key} = {value.isoformat() if isinstance(value, datetime.date) else repr(value)}"
        for key, value in governance.items()
    ]
    (directory / "model.toml").write_text("\n".join(["[governance]", *lines, ""]))


@contextlib.asynccontextmanager
async def opened(root: Path, clock: ManualClock | None = None, **settings: Any) -> AsyncIterator[House]:
    house = House(root, clock or ManualClock(), **settings)
    yield house
    house.log.close()


def in_days(days: int) -> datetime.date:
    return BEGIN + datetime.timedelta(days=days)


async def test_what_is_registered_is_recorded_once_and_other_content_anew(tmp_path: Path) -> None:
    declare(tmp_path, "m", owner="ann")
    async with opened(tmp_path) as house:
        house.serve("m", 1)
        house.serve("m", 1)
        assert house.kinds("m") == ["version.registered", "version.loaded"]
        house.serve("m", 1, OTHER)
        assert house.kinds("m")[2:] == ["version.registered", "version.loaded"]
        problem = [{"model": "m", "version": 2, "problem": "its golden examples fail"}]
        house.loads.reported(problem * 2)
        house.loads.flush()
        house.loads.reported([{"model": "m", "version": 1, "unloaded": "unloaded by request"}])
        house.loads.flush()
        assert house.kinds("m")[4:] == ["version.refused", "version.unloaded"]
        house.serve("m", 3)
        known = house.record.life("m").versions[1]
        assert (known.digest, known.loaded, known.lineage) == (OTHER, False, {"parent": "2"})


async def test_what_a_server_was_started_without_is_unloaded(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        house.serve("m", 1)
        house.serve("m", 2)
    async with opened(tmp_path) as again:
        again.serve("m", 2)
        for _ in range(2):
            again.loads.all_told()
            again.loads.flush()
        said = ["version.registered", "version.loaded"] * 2
        assert again.kinds("m") == [*said, "version.unloaded"]
        assert not again.record.life("m").versions[1].loaded


async def test_what_model_toml_says_is_an_event_when_it_changes(tmp_path: Path) -> None:
    declare(tmp_path, "m", owner="ann", purpose="prices", retire_on=in_days(90))
    async with opened(tmp_path) as house:
        house.serve("m", 1)
        await house.governing.look()
        await house.governing.look()
        said = ["governance.changed", "owner.changed", "retirement.dated"]
        assert sorted(house.kinds("m")[2:]) == said
        declare(tmp_path, "m", owner="bob", purpose="prices", retire_on=in_days(90))
        await house.governing.look()
        changed = house.record.events[-1]
        assert changed.details["changed"] == {"owner": {"from": "ann", "to": "bob"}}
        assert house.record.life("m").governance["owner"] == "bob"


@pytest.mark.parametrize("after", ["stop", "serve"])
async def test_warnings_come_before_the_last_day_and_its_end_after_it(tmp_path: Path, after: str) -> None:
    last = in_days(60)
    declare(tmp_path, "m", owner="ann", retire_on=last, after_retirement=after, replacement="n")
    async with opened(tmp_path) as house:
        house.serve("m", 1)
        await house.governing.look()
        assert not house.governed("m").notices
        await house.look_on(in_days(29))
        assert "retirement.warned" not in house.kinds("m")
        await house.look_on(in_days(30))
        assert house.kinds("m").count("retirement.warned") == 1
        assert house.governed("m").notices[0].replacement == "n"
        await house.look_on(in_days(53))
        await house.look_on(in_days(59))
        await house.look_on(in_days(60))
        assert house.kinds("m").count("retirement.warned") == 3
        assert not house.governed("m").retired
        await house.look_on(in_days(61))
        await house.look_on(in_days(62))
        assert house.kinds("m").count("retirement.reached") == 1
        found = house.governed("m")
        if after == "stop":
            assert "ask n in its place" in found.retired[0]
            assert not found.goes_on
        else:
            assert not found.retired
            assert found.goes_on == {1: DIGEST}
    # What the events say is what another server finds; one that starts has nothing that goes on.
    async with opened(tmp_path, ManualClock(unix_ns=1_700_000_000_000_000_000 + 70 * DAY_NS)) as again:
        assert again.record.life("m").retiring.reached == after
        assert again.governed("m").goes_on == {}
        assert again.governed("m").overrides["retire_on"] == last.isoformat()


async def test_in_dev_the_last_day_is_warned_of_and_ends_nothing(tmp_path: Path) -> None:
    declare(tmp_path, "m", retire_on=in_days(5))
    async with opened(tmp_path, profile="dev") as house:
        house.serve("m", 1)
        await house.look_on(in_days(9))
        assert "retirement.reached" not in house.kinds("m")
        declare(tmp_path, "m", retire_on=in_days(500))
        await house.governing.look()
        assert house.record.life("m").retiring.retire_on == in_days(500).isoformat()


async def test_in_production_the_last_day_comes_earlier_by_the_manifest_and_later_by_a_signature_only(
    tmp_path: Path,
) -> None:
    declare(tmp_path, "m", retire_on=in_days(10))
    key = Ed25519PrivateKey.generate()
    private, public = tmp_path / "key.pem", tmp_path / "keys.pem"
    private.write_bytes(_private(key))
    public.write_bytes(_public(Ed25519PrivateKey.generate()) + _public(key))
    async with opened(tmp_path, retirement_keys=public) as house:
        house.serve("m", 1)
        await house.governing.look()
        declare(tmp_path, "m", retire_on=in_days(90))
        await house.governing.look()
        retiring = house.record.life("m").retiring
        assert retiring.retire_on == in_days(10).isoformat()
        declare(tmp_path, "m", retire_on=in_days(8))
        await house.look_on(in_days(9))
        assert house.record.life("m").retiring.reached == "serve"
        retiring = house.record.life("m").retiring
        assert retiring.retire_on == in_days(8).isoformat()

        def statement(day: int, dated: int = retiring.dated, **other: Any) -> bytes:
            fields = {"origin": origin(tmp_path), "model": "m", "contents": {"1": DIGEST}, **other}
            ends = {"retire_on": in_days(day).isoformat(), "before": in_days(8).isoformat()}
            return Extension(**fields, **ends, dated=dated, actor="ann@desk", reason="late").statement()

        good = statement(40)
        old = good.replace(b'"format":2', b'"format":1')
        signature = sign(good, private)
        for refused, by, why in (
            (good, b"\0" * 64, "by none of them"),
            (statement(41), signature, "by none of them"),
            (good + b" ", signature, "canonical"),
            (b"{}", signature, "statement"),
            (old, sign(old, private), "came 1, which names no server: sign it again"),
        ):
            with pytest.raises(InvalidRequest, match=why):
                await house.retirements.extend(refused, by)
        for elsewhere, why in (
            (statement(40, retiring.dated - 1), "in force is"),
            (
                statement(40, origin="steelyard/another"),
                "is for the server of log 'steelyard/another', and this",
            ),
            (
                statement(40, contents={"1": OTHER}),
                "is about 1 .sha256:cdcdcd.*registered are 1 .sha256:ababab",
            ),
            (statement(40, contents={"1": DIGEST, "2": DIGEST}), "sign it again"),
            (statement(40, contents={}), "is about no versions"),
        ):
            with pytest.raises(Conflict, match=why):
                await house.retirements.extend(elsewhere, sign(elsewhere, private))
        earlier = statement(7)
        with pytest.raises(InvalidRequest, match="a day after"):
            await house.retirements.extend(earlier, sign(earlier, private))
        event = await house.retirements.extend(good, signature)
        assert (event.actor, event.reason) == ("ann@desk", "late")
        assert house.record.life("m").retiring.reached is None
        with pytest.raises(Conflict):
            await house.retirements.extend(good, signature)
        await house.look_on(in_days(41))
        assert house.record.life("m").retiring.reached == "serve"


async def test_in_dev_a_day_that_was_signed_binds_nobody(tmp_path: Path) -> None:
    declare(tmp_path, "m", retire_on=in_days(10))
    key = Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(_private(key))
    (tmp_path / "keys.pem").write_bytes(_public(key))
    async with opened(tmp_path, retirement_keys=tmp_path / "keys.pem") as house:
        house.serve("m", 1)
        await house.governing.look()
        dated = house.record.life("m").retiring.dated
        days = in_days(20).isoformat(), in_days(10).isoformat()
        fields = (origin(tmp_path), "m", {"1": DIGEST}, *days, dated, "ann@desk", "late")
        statement = Extension(*fields).statement()
        await house.retirements.extend(statement, sign(statement, tmp_path / "key.pem"))
    declare(tmp_path, "m", retire_on=in_days(90))
    async with opened(tmp_path, profile="dev") as house:
        assert house.record.life("m").retiring.retire_on == days[0]
        await house.governing.look()
        assert house.record.life("m").retiring.retire_on == in_days(90).isoformat()
        assert house.record.events[-1].details["binding"] is False
        await house.look_on(in_days(91))
        assert "retirement.reached" not in house.kinds("m")


async def test_nobody_extends_where_no_keys_are_set_or_the_file_holds_none(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(_private(key))
    declare(tmp_path, "m", retire_on=in_days(10))
    fields = ("log", "m", {}, "2030-01-01", in_days(10).isoformat(), 1, "ann@desk", "late")
    statement = Extension(*fields).statement()
    signature = sign(statement, tmp_path / "key.pem")
    async with opened(tmp_path) as house:
        with pytest.raises(InvalidRequest, match="no keys are set"):
            await house.retirements.extend(statement, signature)
    async with opened(tmp_path, retirement_keys=tmp_path / "key.pem") as house:
        with pytest.raises(ConfigError, match="public keys in PEM"):
            await house.retirements.extend(statement, signature)
    with pytest.raises(ConfigError, match="cannot be read"):
        sign(statement, tmp_path / "none.pem")


async def test_a_whole_model_is_announced_refused_and_archived(tmp_path: Path) -> None:
    declare(tmp_path, "m", owner="ann")
    async with opened(tmp_path) as house:
        with pytest.raises(ModelNotFound):
            await house.retirements.retire("m", 0, "n", 1000, "bob@desk", "merged")
        house.serve("m", 1)
        with pytest.raises(InvalidRequest, match="the same model"):
            await house.retirements.retire("m", 0, "m", 1000, "bob@desk", "merged")
        await house.retirements.retire("m", 0, "n", 60_000, "bob@desk", "merged")
        assert house.governed("m").notices[0].until == "2023-11-14T22:14:20Z"
        with pytest.raises(Conflict, match="retires already"):
            await house.retirements.retire("m", 0, "n", 1000, "bob@desk", "merged")
        await house.retirements.cancel("m", 0, "bob@desk", "not yet")
        assert not house.governed("m").notices
        with pytest.raises(Conflict, match="does not retire"):
            await house.retirements.cancel("m", 0, "bob@desk", "not yet")
        await house.retirements.retire("m", 0, "n", 60_000, "bob@desk", "merged")
        house.clock.advance(DAY_NS)
    # Killed before the grace was over: the next one goes on where the events stand.
    async with opened(tmp_path, house.clock) as again:
        running = asyncio.get_running_loop().create_task(again.retirements.run())
        await until(lambda: "retirement.archived" in again.kinds("m"))
        running.cancel()
        refusal = again.governed("m").retired[0]
        assert "retired on 2023-11-15" in refusal
        assert "ask n in its place" in refusal
        (archived,) = (tmp_path / "archive" / "m").iterdir()
        assert sorted(path.name for path in archived.iterdir()) == [
            "archive.json",
            "decisions.json",
            "events.jsonl",
            "model.toml",
        ]
        with pytest.raises(Conflict, match="out of service already"):
            await again.retirements.cancel("m", 0, "bob@desk", "not yet")
    assert read_events(tmp_path / EVENTS_FILE).events[-1].kind == "retirement.archived"


async def retired(house: House) -> None:
    """Model "m" with version 1, out of service."""
    house.serve("m", 1)
    await house.retirements.retire("m", 0, "n", 0, "bob@desk", "merged")


def archived(house: House) -> list[tuple[str, str]]:
    """Of each event that says so, what is missing, and the reason."""
    events = [event for event in house.record.events if event.kind == "retirement.archived"]
    return [(event.details.get("problem", ""), event.reason) for event in events]


async def test_an_archive_says_what_it_lacks_and_is_made_whole_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    declare(tmp_path, "m", owner="ann")
    damaged = tmp_path / "sealed" / "m" / "worker-0-1.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"PAR1")

    def tries() -> int:
        return len([one for one in caplog.records if one.getMessage() == "retirement.not_archived"])

    async with opened(tmp_path) as house:
        await retired(house)
        running = asyncio.get_running_loop().create_task(house.retirements.run())
        await until(lambda: tries() == 1)
        ((problem, reason),) = archived(house)
        assert str(damaged) in problem
        assert reason.startswith(
            "its events and manifests are kept, but not which files its decisions are in: "
        )
        running.cancel()
    # So it is with the next server, which does not say it twice; and when its time has come, again.
    async with opened(tmp_path, house.clock) as again:
        running = asyncio.get_running_loop().create_task(again.retirements.run())
        await until(lambda: tries() == 2)
        assert len(archived(again)) == 1
        damaged.unlink()
        again.clock.advance(10 * 1_000_000_000)
        await until(lambda: len(archived(again)) == 2)
        assert archived(again)[1] == (
            "",
            "its events and manifests are kept, and which files its decisions are in",
        )
        running.cancel()
    assert tries() == 2


async def test_what_cannot_be_written_is_tried_again_after_a_pause(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    declare(tmp_path, "m", owner="ann")
    (tmp_path / "archive").write_text("in the way")

    def pauses() -> list[int]:
        told = [one for one in caplog.records if one.getMessage() == "retirement.not_archived"]
        return [one.__dict__["fields"]["again_in_s"] for one in told]

    async with opened(tmp_path) as house:
        await retired(house)
        running = asyncio.get_running_loop().create_task(house.retirements.run())
        for tries in 1, 2, 3:
            await until(lambda: len(pauses()) == tries)  # noqa: B023
            house.clock.advance(pauses()[-1] * 1_000_000_000)
        assert archived(house) == []
        assert pauses() == [10, 20, 40]
        (tmp_path / "archive").unlink()
        await until(lambda: archived(house))
        running.cancel()


async def test_a_stop_does_not_wait_for_what_is_being_read(tmp_path: Path) -> None:
    declare(tmp_path, "m", owner="ann")
    endless = tmp_path / "sealed" / "m" / "worker-0-1.parquet"
    endless.parent.mkdir(parents=True)
    # Whoever opens it waits for somebody who writes.
    os.mkfifo(endless)

    def reading() -> list[psutil.Process]:
        return [one for one in psutil.Process().children() if "steelyard.evidence.apart" in one.cmdline()]

    async with opened(tmp_path) as house:
        await retired(house)
        running = asyncio.get_running_loop().create_task(house.retirements.run())
        await until(reading)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 10.0)
        assert not reading()
        assert archived(house) == []


def _private(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
