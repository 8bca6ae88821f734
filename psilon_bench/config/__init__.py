"""Configuration: the typed schema, the check of a composed configuration against it, and the identity of a run."""
