"""Whether a candidate takes and gives what the version in production does."""

from steelyard.errors import LoadFailed
from steelyard.models.spec import ModelSpec, TensorSpec


def misfits(primary: ModelSpec, candidate: ModelSpec) -> list[str]:
    """How what the candidate takes and gives differs from the primary's; empty where requests of one fit the other.

    What the primary offers has to be there with the same datatype, rank and sizes, a size that one of them leaves open
    fitting any. Beyond it the candidate may have further outputs, but no further inputs.
    """
    found = []
    for kind, wanted, has in (
        ("input", primary.inputs, candidate.inputs),
        ("output", primary.outputs, candidate.outputs),
    ):
        by_name = {tensor.name: tensor for tensor in has}
        for tensor in wanted:
            other = by_name.pop(tensor.name, None)
            if other is None:
                found.append(f"{kind} {tensor.name!r}: expected {_shown(tensor)}, the candidate has none")
            elif not _fits(tensor, other):
                found.append(f"{kind} {tensor.name!r}: expected {_shown(tensor)}, got {_shown(other)}")
        if kind == "input":
            found += [f"{kind} {name!r}: only the candidate has it" for name in by_name]
    if primary.batched != candidate.batched:
        counts = {True: "the first axis counts rows", False: "no axis counts rows"}
        found.append(f"expected that {counts[primary.batched]}, got that {counts[candidate.batched]}")
    return found


def check_fit(primary: ModelSpec, candidate: ModelSpec) -> None:
    """Raises `LoadFailed` that names what differs where the candidate cannot stand in for the primary."""
    found = misfits(primary, candidate)
    if found:
        raise LoadFailed(f"the candidate does not fit the version in production: {'; '.join(found)}")


def _fits(one: TensorSpec, other: TensorSpec) -> bool:
    if one.datatype != other.datatype:
        return False
    # No dimensions may also be a rank that the graph does not state.
    if not one.dims or not other.dims:
        return True
    return len(one.dims) == len(other.dims) and all(
        a == b or a < 0 or b < 0 for a, b in zip(one.dims, other.dims, strict=True)
    )


def _shown(tensor: TensorSpec) -> str:
    return f"{tensor.datatype} {list(tensor.dims)}"
