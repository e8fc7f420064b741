"""The native core: Cython extensions, each with a plain-Python twin that serves as its oracle in tests."""
