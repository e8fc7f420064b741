"""What version.toml declares of a pipeline, compiled."""

from pathlib import Path

from steelyard.models.spec import ModelSpec
from steelyard.models.version_manifest import VersionManifest
from steelyard.pipelines.plan import Pipeline


def declared_pipeline(manifest: VersionManifest, model: ModelSpec, directory: Path) -> Pipeline | None:
    """See `compile_pipeline`, which is imported, with all kinds of steps, for the first version that has any: it takes
    a tenth of a second of each worker's start."""
    if not manifest.has_pipeline and not manifest.model_tensors:
        return None
    from steelyard.pipelines.compile import compile_pipeline

    return compile_pipeline(manifest, model, directory)
