"""Calls of a server's admin service, as tests make them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steelyard.client.admin import AdminClient
from steelyard.wire.generated import admin as pb
from tests.support.shadows import PATIENCE_S

WHO = pb.Who(actor="ann@desk", reason="a test")


class Operator:
    """One person at one server."""

    def __init__(self, data: Path) -> None:
        self.client = AdminClient(data, PATIENCE_S)

    def __enter__(self) -> "Operator":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def set(self, model: str, label: str, version: str, expected: int = 0) -> Any:
        message = pb.SetLabelRequest(model=model, label=label, version=version, who=WHO, expected=expected)
        return self.client.call("SetLabel", message, pb.Event)

    def remove(self, model: str, label: str) -> Any:
        message = pb.RemoveLabelRequest(model=model, label=label, who=WHO)
        return self.client.call("RemoveLabel", message, pb.Event)

    def roll_back(self, model: str, label: str = "", **more: Any) -> Any:
        message = pb.RollbackRequest(model=model, label=label, who=WHO, **more)
        return self.client.call("Rollback", message, pb.Event)

    def labels(self, model: str = "") -> dict[str, tuple[int, bool]]:
        """Version by label, and whether it follows."""
        answer = self.client.call("ListLabels", pb.ListLabelsRequest(model=model), pb.ListLabelsResponse)
        return {found.label: (found.holder.version, found.follows) for found in answer.labels}

    def events(self, model: str, *kinds: str) -> list[Any]:
        """The events of a model, of these kinds or all."""
        message = pb.ListEventsRequest(model=model)
        found = self.client.call("ListEvents", message, pb.ListEventsResponse).events
        return [event for event in found if not kinds or event.kind in kinds]

    def rollout(self, model: str) -> list[Any]:
        """The events of what is rolled out of a model: all but those of versions and of what is declared of them."""
        others = ("version.", "configuration.", "governance.", "owner.", "validation.", "retirement.")
        return [event for event in self.events(model) if not event.kind.startswith(others)]

    def start_canary(self, model: str, candidate: str, *shares: float) -> Any:
        message = pb.StartCanaryRequest(model=model, candidate=candidate, shares=shares, who=WHO)
        return self.client.call("StartCanary", message, pb.Event)

    def stop_canary(self, model: str) -> Any:
        return self.client.call("StopCanary", pb.StopCanaryRequest(model=model, who=WHO), pb.Event)

    def promote_canary(self, model: str) -> Any:
        return self.client.call("PromoteCanary", pb.StopCanaryRequest(model=model, who=WHO), pb.Event)

    def start_shadow(self, model: str, candidate: str, sample: float = 1.0) -> Any:
        message = pb.StartShadowRequest(model=model, version=candidate, sample=sample, who=WHO)
        return self.client.call("StartShadow", message, pb.Event)

    def start_remote_shadow(self, model: str, /, address: str, **more: Any) -> Any:
        remote = pb.Remote(address=address, **more)
        message = pb.StartShadowRequest(model=model, remote=remote, sample=1.0, who=WHO)
        return self.client.call("StartShadow", message, pb.Event)

    def stop_shadow(self, model: str, candidate: str = "") -> Any:
        message = pb.StopShadowRequest(model=model, candidate=candidate, who=WHO)
        return self.client.call("StopShadow", message, pb.Event)

    def calibrate(self, model: str, requests: int, timeout_ms: int = int(PATIENCE_S * 1000)) -> Any:
        message = pb.CalibrateRequest(model=model, requests=requests, timeout_ms=timeout_ms, who=WHO)
        return self.client.call("Calibrate", message, pb.Event)

    def trials(self, model: str) -> dict[str, Any]:
        """What runs beside the model's version in production."""
        found = self.client.call("GetTrials", pb.GetTrialsRequest(model=model), pb.Trials)
        status: dict[str, Any] = json.loads(found.status)
        return status


def details(event: Any) -> dict[str, Any]:
    """What an event says beside who, when and why."""
    found: dict[str, Any] = json.loads(event.details)
    return found


def kinds(events: Sequence[Any]) -> list[str]:
    """The kinds of events."""
    return [event.kind for event in events]
