"""A host's first settings, keys and store."""
