"""drunner-vault: install, use, back up and restore services that run in Docker."""

__version__ = "1.0.0"
