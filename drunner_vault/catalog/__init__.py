"""The archives in a store: which there are, whose, how old, how well."""
