"""What the worker knows of each model's governance: what may be loaded, who is refused, and what callers are told."""

import datetime
from collections.abc import Mapping
from urllib.parse import quote

from steelyard.errors import LoadFailed
from steelyard.evidence.governed import Governed, Notice
from steelyard.evidence.retirement import WHOLE
from steelyard.models.governance import Governance
from steelyard.models.manifest import ModelManifest
from steelyard.serving.call import REPLACEMENT, RETIRES, Metadata

NOTHING = Governed()

# In each answer's trailers; a client's limit on all headers is 8 KiB as a rule.
MAX_REPLACEMENT_CHARS = 256


class Retiring:
    """By model, what the last directive said. Lives on the event loop."""

    def __init__(self) -> None:
        self._models: dict[str, Governed] = {}

    def direct(self, model: str, governed: Governed) -> bool:
        """Takes what a directive says; gives whether that is something else than before."""
        before = self._models.get(model, NOTHING)
        self._models[model] = governed
        return governed != before

    def retired(self, model: str) -> Mapping[int, str]:
        """Versions that are not served, or `WHOLE`, and what callers are told."""
        return self._models.get(model, NOTHING).retired

    def goes_on(self, model: str, number: int) -> str | None:
        """The content with which a version may be loaded though its last day is over."""
        return self._models.get(model, NOTHING).goes_on.get(number)

    def refuse(self, model: str, number: int) -> None:
        """Raises LoadFailed where the version is out of service."""
        retired = self.retired(model)
        if refusal := retired.get(number) or retired.get(WHOLE):
            raise LoadFailed(refusal)

    def in_force(self, model: str, manifest: ModelManifest) -> ModelManifest:
        """The manifest with what events have set in the place of what model.toml says."""
        overrides = dict(self._models.get(model, NOTHING).overrides)
        if not overrides:
            return manifest
        given = manifest.governance.model_dump(exclude_none=True)
        # Whoever takes retire_on out of model.toml has no date any more: that has to be refused.
        last = overrides.pop("retire_on", None)
        if last is not None and manifest.governance.retire_on is not None:
            given["retire_on"] = datetime.date.fromisoformat(last)
        governance = Governance.model_validate({**given, **overrides})
        return manifest.model_copy(update={"governance": governance})

    def trailing(self, model: str, number: int) -> Metadata:
        """What callers of a version are told with each answer."""
        notices = self._models.get(model, NOTHING).notices
        notice = notices.get(number) or notices.get(WHOLE)
        return () if notice is None else _told(notice)


def _told(notice: Notice) -> Metadata:
    if not notice.replacement:
        return ((RETIRES, notice.until),)
    # Metadata is ASCII, and an owner may write anything.
    replacement = quote(notice.replacement[:MAX_REPLACEMENT_CHARS], safe=" /:.,@")
    return ((RETIRES, notice.until), (REPLACEMENT, replacement))
