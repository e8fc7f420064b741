"""From a version that was loaded to one that the request path can take."""

from pathlib import Path

from steelyard._native.observe import Slot
from steelyard.models.manifest import ModelManifest
from steelyard.scheduling.lane import Lane
from steelyard.scheduling.ragged import RaggedLane
from steelyard.serving.loading import LoadedVersion
from steelyard.serving.preparing import prepare_lane
from steelyard.serving.version import ServedVersion


def enter(
    name: str,
    number: int,
    path: Path,
    manifest: ModelManifest,
    loaded: LoadedVersion,
    slot: Slot,
    threads: int,
) -> ServedVersion:
    """The version, with lanes of its own. slot: where it is counted. threads: the server's budget; 0: requests are
    not prepared on threads."""
    lane = (Lane if loaded.ragged is None else RaggedLane)(name, loaded.policy, loaded.cost)
    served = ServedVersion(
        model=name,
        number=number,
        path=path,
        digest=loaded.digest,
        manifest=manifest,
        version_manifest=loaded.version_manifest,
        spec=loaded.spec,
        device=loaded.device,
        session=loaded.session,
        pipeline=loaded.pipeline,
        batching=loaded.batching,
        lane=lane,
        prepare_lane=prepare_lane(name, loaded, lane, threads) if threads else None,
        slot=slot,
        bindable=loaded.bindable,
        default_timeout_ns=manifest.serving.default_timeout_ms * 1_000_000,
        golden_passed=loaded.golden_passed,
        failing=loaded.failing,
        ragged=loaded.ragged,
        cost_conditions=loaded.cost_conditions,
        staging=loaded.staging,
        signer=loaded.signer,
    )
    served.lane.owner = served
    if loaded.device != "cpu":
        # The loop must not wait for a device, however short its runs are.
        served.lane.inline = False
    if served.prepare_lane is not None:
        served.prepare_lane.owner = served
    return served
