"""The rules of `[[rollout.compare]]`, a module each."""
