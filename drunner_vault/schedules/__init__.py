"""What starts jobs: timers of systemd, or cron's table. Which jobs, and when, is told; nothing here knows settings."""
