"""Peers: two that need no installation are compared, and one that cannot be had is told of with its reason."""

from pathlib import Path

import pytest

from benchmarks.peers import compare
from benchmarks.peers.peer import Peer, Spoken, Start

pytestmark = pytest.mark.extra


def nothing(start: Start) -> list[str]:
    return [str(start.python), "-c", "raise SystemExit('it cannot start')"]


def test_peers_are_measured_or_the_reason_is_told(tmp_path: Path) -> None:
    away = Peer("away", "A peer that pip cannot find", Spoken.GRPC, nothing, ("./not-there.whl",))
    broken = Peer("broken", "A peer that ends", Spoken.JSON, nothing)
    peers = (*compare.CHEAP, away, broken)
    found = compare.run(rounds=1, seconds=0.2, peers=peers, environments=tmp_path)
    for peer in compare.CHEAP:
        row = found[peer.name]
        assert len(row["ratios"]) == 1
        assert row["requests_per_s"]["peer"][0] > 0
    assert found["away"]["reason"].startswith("NotInstalled")
    assert "not-there.whl" in found["away"]["reason"]
    assert "it cannot start" in found["broken"]["reason"]
    lines = compare.report(found)
    assert len([line for line in lines if "not measured" in line]) == 2
    assert lines[-1].startswith("broken: NotServing")
    ratios, rates = compare.charts(found)
    assert set(ratios.bars) == {peer.title for peer in compare.CHEAP}
    assert set(rates.bars) - set(ratios.bars) == {"ours, asked by gRPC"}


def test_every_peer_has_a_name_of_its_own_and_pinned_requirements() -> None:
    assert len({peer.name for peer in compare.PEERS}) == len(compare.PEERS)
    for peer in compare.PEERS:
        assert all("==" in requirement for requirement in peer.requirements), peer.name
