"""Plain-Python twins of the native kernels: the oracles of their tests."""
