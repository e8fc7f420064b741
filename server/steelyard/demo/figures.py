"""What a run of the demonstration found."""

from collections import Counter
from dataclasses import dataclass

from steelyard.demo.stages import VersionAccount
from steelyard.demo.traffic import Pass


@dataclass(frozen=True, slots=True)
class Difference:
    """A file of which two say different things."""

    path: str
    expected: str
    came: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many answers of one version are what somebody else says of the same files."""

    files: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> int:
        """How many are the same."""
        return self.files - len(self.differences)


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that is shown."""

    too_small: int
    """Files passed over because the package would not ask its model about them."""
    packaged: Pass
    packaged_account: VersionAccount
    against_magika: Agreement
    near_ties: int
    """Of the equal ones, those that equal what the package says of the file in the company of another only."""
    quantized: Pass
    quantized_account: VersionAccount
    against_packaged: Agreement
    """Version 2's answers beside version 1's."""

    @property
    def right(self) -> bool:
        """Whether version 1 said what the package says, of every file."""
        return not self.against_magika.differences

    def types(self) -> list[tuple[str, int]]:
        """Files by type as version 1 told them, the commonest first."""
        counts = Counter(self.packaged.labels)
        return sorted(counts.items(), key=lambda item: (-item[1], item[0]))

    def document(self) -> dict[str, object]:
        """For JSON."""
        return {
            "files": len(self.packaged.labels),
            "too_small": self.too_small,
            "types": dict(self.types()),
            "versions": {
                "1": _version(self.packaged, self.packaged_account),
                "2": _version(self.quantized, self.quantized_account),
            },
            "against_magika": _agreement(self.against_magika) | {"near_ties": self.near_ties},
            "version_2_against_1": _agreement(self.against_packaged),
        }


def _version(asked: Pass, account: VersionAccount) -> dict[str, object]:
    return {
        "requests": len(asked.labels),
        "seconds": asked.seconds,
        "requests_per_s": asked.requests_per_s,
        "p50_ms": asked.latency_ms(50),
        "p99_ms": asked.latency_ms(99),
        "batching": asked.batching,
        "mean_batch_rows": account.mean_batch_rows,
        "stages": {
            stage.stage: {
                "count": stage.count,
                "mean_ms": stage.mean_ms,
                "p50_ms": stage.percentile_ms(50),
                "p99_ms": stage.percentile_ms(99),
            }
            for stage in account.stages
        },
    }


def _agreement(agreement: Agreement) -> dict[str, object]:
    return {
        "files": agreement.files,
        "equal": agreement.equal,
        "differences": [
            {"path": difference.path, "expected": difference.expected, "came": difference.came}
            for difference in agreement.differences
        ],
    }
