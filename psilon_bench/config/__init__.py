"""The typed schema, the check of a composed configuration against it, and what tells configurations apart."""
