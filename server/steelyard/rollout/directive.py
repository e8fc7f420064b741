"""What the supervisor tells a worker of one model: where its labels stand, and what has to stay loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from steelyard.rollout.labels import Holder


@dataclass(frozen=True, slots=True)
class Directive:
    """In force from when it is applied until the next one for the same model."""

    model: str
    labels: Mapping[str, Holder] = field(default_factory=dict)
    """The labels that somebody has set."""
    hold: Mapping[int, str] = field(default_factory=dict)
    """Versions that stay loaded whatever the version policy says, and the content that each stands for."""

    def to_json(self) -> dict[str, Any]:
        """As it travels between processes."""
        return {
            "model": self.model,
            "labels": {name: holder.to_json() for name, holder in self.labels.items()},
            "hold": {str(number): digest for number, digest in self.hold.items()},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Directive":
        """The directive that `to_json` wrote."""
        return cls(
            model=fields["model"],
            labels={name: Holder.from_json(holder) for name, holder in fields["labels"].items()},
            hold={int(number): digest for number, digest in fields["hold"].items()},
        )
