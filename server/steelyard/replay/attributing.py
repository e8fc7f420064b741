"""An answer of a captured request, divided among the columns of its row."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from steelyard.errors import InvalidRequest
from steelyard.evidence.attribution import MAX_EXACT_FEATURES, Attribution, Floats, Rows, occlusion, shapley
from steelyard.evidence.background import Background
from steelyard.models.profile import PROFILE, read_profile
from steelyard.replay.table import table_row
from steelyard.replay.version import ReplayVersion
from steelyard.wire import decode_request

# Rows of the background that contributions are taken over: few features are cheap, and their error is the draws' alone.
DRAWS = 64
EXACT_DRAWS = 128
# More for the base, against which the completeness gap is told.
SPARE_DRAWS = 1024

# Outputs that are no numbers, or none that NumPy knows.
_NOT_NUMBERS = ("BOOL", "BYTES", "BF16")


@dataclass(frozen=True, slots=True)
class Explained:
    """An attribution, and what of the answer it is about."""

    attribution: Attribution
    output: str
    """Such as "y", or "scores[2]"."""
    row: int
    kept: tuple[str, ...]
    """What stayed as it was, since the training profile does not know it."""


def attribute(
    version: ReplayVersion,
    body: bytes,
    row: int = 0,
    method: Literal["shapley", "occlusion"] = "shapley",
    draws: int | None = None,
    output: str = "",
    index: int | None = None,
    seed: int = 0,
) -> Explained:
    """Divides `version`'s answer to one row of a serialized ModelInferRequest among its columns.

    The background is the profile.json beside the version. output, index: which number is explained; not given: the
    first output of numbers, and in it the greatest of several.

    Raises InvalidRequest where there is no profile or no table that it knows, or the version does not answer such rows.
    """
    profile = read_profile(version.path / PROFILE)
    if profile is None:
        raise InvalidRequest(
            f"attribution: {version.name} has no {PROFILE}, which `steelyard contract suggest` writes"
        )
    background = Background(profile)
    request: Any = decode_request(body)
    table = table_row(request, background, row)
    output, place, width = _chosen(version, table.body(_one(table.values)), output, index)

    def score(rows: Rows) -> Floats:
        if version.spec.batched:
            return _numbers(version, table.body(rows), output, len(rows))[:, place]
        return np.array([_numbers(version, table.body(one[None, :]), output, 1)[0, place] for one in rows])

    names = table.names
    if method == "occlusion":
        found = occlusion(score, names, table.values, background.middle(names))
    else:
        few = len(names) <= MAX_EXACT_FEATURES
        found = shapley(
            score,
            names,
            table.values,
            background.draw(names, draws or (EXACT_DRAWS if few else DRAWS), seed),
            background.draw(names, SPARE_DRAWS, seed + 1),
            seed,
        )
    return Explained(found, output if width == 1 else f"{output}[{place}]", row, tuple(table.others))


def render(explained: Explained, most: int = 20) -> list[str]:
    """The attribution in lines, the largest contributions first."""
    found = explained.attribution
    about = {
        "subsets": f"Shapley values over all subsets, {found.draws} rows of background",
        "permutation": f"Shapley values over {found.draws} permutations and their reverses",
        "occlusion": "occlusion: each column alone at the profile's middle",
    }[found.method]
    lines = [
        f"{explained.output} = {found.value:.6g}, {found.value - found.base:+.4g} from {found.base:.4g} "
        f"(± {found.base_error:.2g}) over the training profile",
        f"an approximation: {about}; columns are taken as independent; {found.gap:+.3g} is left unexplained",
    ]
    shares = sorted(found.shares, key=lambda share: -abs(share.contribution))
    width = max(len(share.name) for share in shares[:most])
    for share in shares[:most]:
        shown = f"{share.value:.6g}" if isinstance(share.value, float) else str(share.value)[:40]
        error = f" ± {share.error:.2g}" if found.method != "occlusion" else ""
        lines.append(f"  {share.name:<{width}}  {share.contribution:+.4g}{error}  (it was {shown})")
    if len(shares) > most:
        rest = sum(share.contribution for share in shares[most:])
        lines.append(f"  {len(shares) - most} more, {rest:+.4g} together")
    if explained.kept:
        lines.append(f"  left as they were, as the profile does not know them: {', '.join(explained.kept)}")
    return lines


def _chosen(version: ReplayVersion, body: bytes, output: str, index: int | None) -> tuple[str, int, int]:
    """The output, the place in its row, and how many there are."""
    came = version.run(body)
    if came.status:
        raise InvalidRequest(f"attribution: {version.name} does not answer the row: {came.error}")
    for name, datatype, array in came.walked.answer:
        if datatype in _NOT_NUMBERS or (output and name != output) or not array.size:
            continue
        flat = np.asarray(array, np.float64).reshape(-1)
        if index is not None and not 0 <= index < flat.size:
            raise InvalidRequest(
                f"attribution: output {name!r} has {flat.size} numbers a row, no place {index}"
            )
        return name, int(np.nanargmax(flat)) if index is None else index, flat.size
    raise InvalidRequest(f"attribution: {version.name} has no output {output or 'of numbers'}")


def _numbers(version: ReplayVersion, body: bytes, output: str, rows: int) -> Floats:
    """The output of numbers, float64 [rows, places]."""
    came = version.run(body)
    if came.status:
        raise InvalidRequest(
            f"attribution: {version.name} does not answer rows like the profile's: {came.error}"
        )
    for name, _, array in came.walked.answer:
        if name == output:
            return np.asarray(array, np.float64).reshape(rows, -1)
    raise InvalidRequest(f"attribution: {version.name} gave no output {output!r}")


def _one(values: Any) -> Rows:
    row = np.empty((1, len(values)), object)
    row[0, :] = values
    return row
