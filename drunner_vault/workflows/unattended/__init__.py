"""Backups that nobody watches: jobs, what was done, what is wrong, and who is told."""
