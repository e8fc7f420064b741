"""A version that was asked for and has no route of its own: a digest that was cut short, or why there is no answer."""

from steelyard.errors import InvalidRequest, ModelNotFound, SteelyardError, Unavailable, VersionNotLoaded
from steelyard.evidence.retirement import WHOLE
from steelyard.models.names import DIGEST_PREFIX, MIN_DIGEST_DIGITS, digest_problem, parse_version
from steelyard.rollout.labels import Holder
from steelyard.serving.entries import ModelEntry, VersionEntry, VersionState
from steelyard.serving.version import ServedVersion
from steelyard.wire.refusals import shown


def resolve(entry: ModelEntry, version: str) -> ServedVersion:
    """The served version of `entry` that `version` pins; raises why there is none. Never another one in its place."""
    if (refusal := entry.retired.get(WHOLE)) is not None:
        raise VersionNotLoaded(refusal)
    if not version or (version == entry.default_label and entry.follows):
        raise _no_default(entry)
    if version.startswith(DIGEST_PREFIX):
        return _by_digest(entry, version)
    number = parse_version(version)
    if number is not None and (refusal := entry.retired.get(number)) is not None:
        raise VersionNotLoaded(refusal)
    if number is None and version in entry.labels:
        raise _not_standing(entry, version, entry.labels[version])
    if not entry.versions:
        raise Unavailable(f"model {entry.name!r} is not loaded{': ' + entry.reason if entry.reason else ''}")
    known = None if number is None else entry.versions.get(number)
    if known is None:
        what = "version" if number is not None else "version or label"
        raise ModelNotFound(f"model {entry.name!r} has no {what} {shown(version)}; {what_is_loaded(entry)}")
    raise _not_served(f"model {entry.name!r} version {version}", entry, known)


def what_is_loaded(entry: ModelEntry) -> str:
    """Versions and labels that would be answered for, as a refusal tells them."""
    ready = ", ".join(
        f"{known.number} ({known.served.digest[: len(DIGEST_PREFIX) + MIN_DIGEST_DIGITS]})"
        for known in sorted(entry.versions.values(), key=lambda known: known.number)
        if known.served
    )
    labels = ", ".join(f"{name} = {served.number}" for name, served in sorted(entry.labelled().items()))
    return f"ready: {ready or 'none'}{'; labels: ' + labels if labels else ''}"


def _by_digest(entry: ModelEntry, version: str) -> ServedVersion:
    problem = digest_problem(version)
    if problem is not None:
        raise InvalidRequest(f"model {entry.name!r}: {problem}")
    found = {
        known.served.digest: known.served
        for known in sorted(entry.versions.values(), key=lambda known: known.number)
        if known.served and known.served.digest.startswith(version)
    }
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InvalidRequest(
            f"model {entry.name!r}: {version} begins the digests of {len(found)} versions, give more of it"
        )
    for label, holder in entry.labels.items():
        if holder.digest.startswith(version):
            raise _not_standing(entry, label, holder)
    raise ModelNotFound(f"model {entry.name!r} has no version {version}; {what_is_loaded(entry)}")


def _no_default(entry: ModelEntry) -> SteelyardError:
    if not entry.follows:
        refusal = _not_standing(entry, entry.default_label, entry.labels[entry.default_label])
        return Unavailable(str(refusal))
    states = "; ".join(
        f"version {v.number} is {v.state.name}{': ' + v.reason if v.reason else ''}"
        for v in entry.versions.values()
    )
    return Unavailable(
        f"model {entry.name!r} has no version that is ready ({entry.reason or states or 'nothing of it is loaded'})"
    )


def _not_standing(entry: ModelEntry, label: str, holder: Holder) -> SteelyardError:
    where = f"model {entry.name!r} label {label}: {holder}"
    known = entry.versions.get(holder.number)
    if known is None:
        return VersionNotLoaded(f"{where} is not loaded; {what_is_loaded(entry)}")
    if known.served is not None:
        return VersionNotLoaded(
            f"{where} has other content now, {known.served.digest[:19]}; {what_is_loaded(entry)}"
        )
    return _not_served(where, entry, known)


def _not_served(where: str, entry: ModelEntry, known: VersionEntry) -> SteelyardError:
    reason = f": {known.reason}" if known.reason else ""
    message = f"{where} is {known.state.name}{reason}"
    if known.state is VersionState.LOADING:
        return Unavailable(message)
    return VersionNotLoaded(f"{message}; {what_is_loaded(entry)}")
