"""The version policy: which of the versions that are there should be served."""

from collections.abc import Iterable

from steelyard.models.manifest import VersionPolicy


def wanted(policy: VersionPolicy, available: Iterable[int]) -> list[int]:
    """The versions of `available` that `policy` asks for, lowest first; one listed but absent is left out."""
    present = sorted(set(available))
    if policy.list is not None:
        listed = frozenset(policy.list)
        return [number for number in present if number in listed]
    if policy.latest is not None:
        return present[-policy.latest :]
    return present
