"""Pipelines: from what callers send to what a model takes."""
