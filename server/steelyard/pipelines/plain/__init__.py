"""Plain-Python twins of the native pipeline steps, the oracles of their tests."""
