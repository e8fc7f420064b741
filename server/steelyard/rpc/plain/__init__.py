"""The plain twin of the native part: the oracle in tests, and readable."""
