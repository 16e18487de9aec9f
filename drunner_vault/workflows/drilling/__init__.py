"""Restoring for real, apart, to see whether a service comes back."""
