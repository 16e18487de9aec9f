"""Telling others: people through Apprise, checks as Healthchecks has them, Prometheus. What to say is decided above."""
