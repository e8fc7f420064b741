"""The error for a step that cannot be compiled: which tensor, which step, what was expected and what came."""

from collections.abc import Sequence

from steelyard.errors import ManifestError


def misfit(tensor: str, step: str, problem: str) -> ManifestError:
    """`tensor` says its kind and name, such as "input 'file'"."""
    return ManifestError(f"{tensor}: step '{step}': {problem}")


def shown_dims(dims: Sequence[int]) -> str:
    """Dimensions as a manifest writes them."""
    return "[" + ", ".join(str(dim) for dim in dims) + "]"
