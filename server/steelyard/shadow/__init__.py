"""A candidate beside the version in production, in a process of its own: it is run, compared and counted."""
