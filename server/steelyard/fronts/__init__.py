"""Fronts: bytes come in and go out; each serves the same table of methods."""
