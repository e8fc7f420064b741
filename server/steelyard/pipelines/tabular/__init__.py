"""Tabular pipelines: named columns of mixed type to the matrix that a model takes."""
