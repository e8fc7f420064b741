"""What several groups of tests need: models to serve, a server in its own process, and ways to ask it."""
