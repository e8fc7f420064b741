"""Finds out how a model is served best on this machine: the search, what it measures with, and what it writes."""
