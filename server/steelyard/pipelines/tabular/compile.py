"""Steps to operations: one function a kind of step, from a track to the tracks that it becomes."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from steelyard.errors import ManifestError
from steelyard.pipelines.tabular import steps
from steelyard.pipelines.tabular.categories import find_categories, key_of
from steelyard.pipelines.tabular.columns import Kind
from steelyard.pipelines.tabular.operations import KEEP_MISSING, Code, Operation, Part, State, Unknown
from steelyard.pipelines.tabular.track import Context, Track

# A row of the output is one run of memory; more columns than this is a mistake in a list.
MAX_ONE_HOT = 1 << 24


def compile_step(step: steps.Step, track: Track, context: Context) -> list[Track]:
    """What a step makes of a track. Raises ManifestError, which does not name the step."""
    compiled = _COMPILERS[type(step)](step, track, context)
    return compiled if isinstance(compiled, list) else [compiled]


def _profiled(context: Context, track: Track, key: str) -> Any:
    value = context.profile.get(track.column, {}).get(key)
    if value is None:
        raise ManifestError(f"{key}: not given, and the profile has none of the column")
    return value


def _number(given: float | None, context: Context, track: Track, key: str) -> float:
    value = _profiled(context, track, key) if given is None else given
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ManifestError(f"{key}: expected a finite number, got {value!r:.80}")
    return float(value)


def _impute(step: steps.Impute, track: Track, context: Context) -> Track:
    value = step.value if step.value is not None else _profiled(context, track, step.strategy)
    if track.state is State.TEXT:
        if not isinstance(value, str):
            raise ManifestError(f"value: expected text, got {value!r:.80}")
        return track.then(Operation(Code.IMPUTE_TEXT, data=value.encode()), may_miss=False)
    if isinstance(value, str) or isinstance(value, bool) != (track.kind is Kind.BOOLEAN):
        what = "true or false" if track.kind is Kind.BOOLEAN else "a number"
        raise ManifestError(f"value: expected {what}, got {value!r:.80}")
    if track.state is State.INTEGER and value == int(value):
        if not -(1 << 63) <= value < 1 << 63:
            raise ManifestError(f"value: expected a whole number of 64 bits, got {value!r:.80}")
        return track.then(Operation(Code.IMPUTE_INTEGER, n=int(value)), may_miss=False)
    number = _number(value, context, track, "value")
    return track.as_number().then(Operation(Code.IMPUTE_NUMBER, a=number), may_miss=False)


def _clip(step: steps.Clip, track: Track, _: Context) -> Track:
    least = -math.inf if step.min is None else step.min
    greatest = math.inf if step.max is None else step.max
    return track.as_number().then(Operation(Code.CLIP, a=least, b=greatest))


def _scale(step: steps.Scale, track: Track, context: Context) -> Track:
    track = track.as_number()
    if step.method == "standard":
        mean = _number(step.mean, context, track, "mean")
        std = _number(step.std, context, track, "std")
        if std == 0:
            raise ManifestError("std: expected a number other than 0, got 0 from the profile")
        return track.then(Operation(Code.SUBTRACT, a=mean)).then(Operation(Code.DIVIDE, a=std))
    if step.method == "minmax":
        low, high = _number(step.min, context, track, "min"), _number(step.max, context, track, "max")
        if not low < high:
            raise ManifestError(f"min: expected less than max = {high}, got {low}")
        factor = (step.range[1] - step.range[0]) / (high - low)
        shift = step.range[0] - low * factor
        return track.then(Operation(Code.MULTIPLY, a=factor)).then(Operation(Code.ADD, a=shift))
    for code, value in (
        (Code.SUBTRACT, step.subtract),
        (Code.DIVIDE, step.divide),
        (Code.MULTIPLY, step.multiply),
        (Code.ADD, step.add),
    ):
        if value is not None:
            track = track.then(Operation(code, a=value))
    return track


def _log(step: steps.Log, track: Track, _: Context) -> Track:
    track = track.as_number()
    if step.offset:
        track = track.then(Operation(Code.ADD, a=step.offset))
    # What is not positive has no logarithm, and NaN stands for missing.
    return track.then(Operation(Code.LOG1P if step.method == "log1p" else Code.LOG), may_miss=True)


def _bucketize(step: steps.Bucketize, track: Track, _: Context) -> Track:
    track = _refusing(step.missing, track.as_number())
    edges = np.array(step.edges, "<f8")
    track = track.then(Operation(Code.BUCKET, data=edges), kind=Kind.INTEGER)
    return _spread(track, len(edges) + 1) if step.output == "onehot" else track


def _spread(track: Track, width: int, labels: tuple[str, ...] = ()) -> Track:
    if not 0 < width <= MAX_ONE_HOT:
        raise ManifestError(f"expected 1 to {MAX_ONE_HOT} columns, got {width}")
    return replace(track, one_hot=width, labels=labels, may_miss=False)


def _refusing(policy: object, track: Track) -> Track:
    if policy != "refuse":
        return track
    return track.then(Operation(Code.REFUSE_MISSING), may_miss=False)


def _lookup(
    track: Track,
    context: Context,
    numbers: list[tuple[steps.Category, int]],
    unknown: tuple[Unknown, int],
    missing: int,
) -> Track:
    """numbers: of each category. missing: an index or KEEP_MISSING."""
    if track.state is State.TEXT and track.kind is not Kind.TEXT:
        raise ManifestError(f"cannot work on {track.holds()}")
    keys = [key_of(category, track.state, track.kind) for category, _ in numbers]
    if len(set(keys)) != len(keys):
        raise ManifestError("categories: expected each once")
    vocabulary = context.vocabulary(keys, [number for _, number in numbers])
    policy, index = unknown
    may_miss = policy is Unknown.MISSING or (track.may_miss and missing == KEEP_MISSING)
    operation = Operation(Code.LOOKUP, n=policy, m=index, k=missing, data=vocabulary)
    return track.then(operation, kind=Kind.INTEGER, may_miss=may_miss)


def _vocabulary(step: steps.VocabularyStep, track: Track, context: Context) -> Track:
    categories = find_categories(step.categories, track.column, context.profile, context.directory)
    indices = range(len(categories)) if step.indices is None else step.indices
    if len(indices) != len(categories):
        raise ManifestError(
            f"indices: expected one for each of {len(categories)} categories, got {len(indices)}"
        )
    track = _refusing(step.missing, track)
    unknown = {
        "refuse": (Unknown.REFUSE, 0),
        "missing": (Unknown.MISSING, 0),
    }.get(cast(str, step.unknown), (Unknown.INDEX, step.unknown if isinstance(step.unknown, int) else 0))
    missing = step.missing if isinstance(step.missing, int) else KEEP_MISSING
    return _lookup(track, context, list(zip(categories, indices, strict=True)), unknown, missing)


def _one_hot(step: steps.OneHot, track: Track, context: Context) -> Track:
    categories = find_categories(step.categories, track.column, context.profile, context.directory)
    if step.drop is not None and step.drop not in categories:
        raise ManifestError(f"drop: expected one of the categories, got {step.drop!r:.80}")
    shown = [category for category in categories if step.drop is None or category != step.drop]
    numbers = [(category, i) for i, category in enumerate(shown)]
    labels = [str(category) for category in shown]
    none = -1
    if step.drop is not None:
        numbers.append((step.drop, none))
    missing = none
    if step.missing == "category":
        missing = len(labels)
        labels.append("missing")
    if step.infrequent:
        numbers += [(category, len(labels)) for category in step.infrequent]
        labels.append("infrequent")
    if step.missing == "infrequent":
        missing = len(labels) - 1
    if step.unknown == "refuse":
        unknown = (Unknown.REFUSE, 0)
    else:
        unknown = (Unknown.INDEX, len(labels) - 1 if step.unknown == "infrequent" else none)
    track = _lookup(_refusing(step.missing, track), context, numbers, unknown, missing)
    return _spread(track, len(labels), tuple(labels))


def _hashing(step: steps.Hashing, track: Track, _: Context) -> Track:
    operation = Operation(Code.HASH, n=step.buckets, m=step.seed)
    track = _refusing(step.missing, track).then(operation, kind=Kind.INTEGER)
    return _spread(track, step.buckets) if step.output == "onehot" else track


def _missing_indicator(_: steps.MissingIndicator, track: Track, __: Context) -> Track:
    name = f"{track.name} is missing"
    return track.then(Operation(Code.IS_MISSING), kind=Kind.INTEGER, may_miss=False, name=name)


def _date_parts(step: steps.DateParts, track: Track, _: Context) -> list[Track]:
    if track.kind is not Kind.DATE:
        raise ManifestError(f"expected a column of kind date, got {track.kind.name.lower()}")
    return [
        track.then(
            Operation(Code.DATE_PART, n=Part[part.upper()]), kind=Kind.INTEGER, name=f"{track.name} {part}"
        )
        for part in step.parts
    ]


_COMPILERS: dict[type[steps.Step], Callable[[Any, Track, Context], Track | list[Track]]] = {
    steps.Impute: _impute,
    steps.Clip: _clip,
    steps.Scale: _scale,
    steps.Log: _log,
    steps.Bucketize: _bucketize,
    steps.VocabularyStep: _vocabulary,
    steps.OneHot: _one_hot,
    steps.Hashing: _hashing,
    steps.MissingIndicator: _missing_indicator,
    steps.DateParts: _date_parts,
}
