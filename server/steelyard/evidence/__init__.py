"""What happened, kept so that it can be found and checked."""
