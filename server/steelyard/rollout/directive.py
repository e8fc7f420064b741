"""What the supervisor tells a worker of one model: where labels stand, what stays loaded, and what runs beside."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from steelyard.evidence.governed import Governed
from steelyard.rollout.labels import Holder


@dataclass(frozen=True, slots=True)
class Split:
    """What a canary takes of the requests that name no version."""

    number: int
    """The canary: the sequence of the event that started it."""
    step: int
    primary: Holder
    candidate: Holder
    share: float
    thresholds_ns: tuple[int, ...] = ()
    """Requests that take longer than one of these are counted."""
    counted: int = field(default=0, compare=False)
    """Keys and requests that were counted so far, by whichever worker."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "primary": self.primary.to_json(), "candidate": self.candidate.to_json()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Split":
        return cls(
            number=fields["number"],
            step=fields["step"],
            primary=Holder.from_json(fields["primary"]),
            candidate=Holder.from_json(fields["candidate"]),
            share=fields["share"],
            thresholds_ns=tuple(fields["thresholds_ns"]),
            counted=fields["counted"],
        )


@dataclass(frozen=True, slots=True)
class Tap:
    """A process that wants a sample of what a version is asked and answers."""

    number: int
    """The shadow: the sequence of the event that started it."""
    primary: Holder
    socket: str
    sample: float
    max_bytes: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "primary": self.primary.to_json()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Tap":
        return cls(
            number=fields["number"],
            primary=Holder.from_json(fields["primary"]),
            socket=fields["socket"],
            sample=fields["sample"],
            max_bytes=fields["max_bytes"],
        )


@dataclass(frozen=True, slots=True)
class Directive:
    """In force from when it is applied until the next one for the same model."""

    model: str
    labels: Mapping[str, Holder] = field(default_factory=dict)
    """The labels that somebody has set."""
    hold: Mapping[int, str] = field(default_factory=dict)
    """Versions that stay loaded whatever the version policy says, and the content that each stands for."""
    keep: tuple[int, ...] = ()
    """Versions that stay loaded while somebody is about to use them."""
    split: Split | None = None
    taps: tuple[Tap, ...] = ()
    follow: Holder | None = None
    """Where the default label stands that nobody has set, until all workers go on together; None: each stands by the
    highest version that it serves."""
    governed: Governed = field(default_factory=Governed)

    def to_json(self) -> dict[str, Any]:
        """As it travels between processes."""
        return {
            "model": self.model,
            "labels": {name: holder.to_json() for name, holder in self.labels.items()},
            "hold": {str(number): digest for number, digest in self.hold.items()},
            "keep": list(self.keep),
            "split": None if self.split is None else self.split.to_json(),
            "taps": [tap.to_json() for tap in self.taps],
            "follow": None if self.follow is None else self.follow.to_json(),
            "governed": self.governed.to_json(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Directive":
        """The directive that `to_json` wrote."""
        return cls(
            model=fields["model"],
            labels={name: Holder.from_json(holder) for name, holder in fields["labels"].items()},
            hold={int(number): digest for number, digest in fields["hold"].items()},
            keep=tuple(fields["keep"]),
            split=None if fields["split"] is None else Split.from_json(fields["split"]),
            taps=tuple(map(Tap.from_json, fields["taps"])),
            follow=None if fields["follow"] is None else Holder.from_json(fields["follow"]),
            governed=Governed.from_json(fields["governed"]),
        )
