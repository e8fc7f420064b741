"""The request path, top to bottom: call, engine, execution, answer; and what is served by it."""
