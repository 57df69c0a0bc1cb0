"""Only what the repository's own runs need."""

pytest_plugins = ["pytester"]
