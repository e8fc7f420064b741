"""Models on disk: what a repository holds, what its manifests say, and what each version is."""
