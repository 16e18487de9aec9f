"""The commented settings that `init` writes: what a host starts with, and all else that can be said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Start:
    """What is known of a host when it is set up. store: the URL of its store; empty if none is known yet."""

    recipients: Sequence[str] = ()
    store: str = ""
    environment_file: str = ""


def template(start: Start) -> str:
    """The text of vault.toml. What is not known stands there as a comment."""
    return _TEMPLATE.format(
        recipients=_line("recipients", list(start.recipients), ["age1…"]),
        environment_file=_line("environment_file", start.environment_file, "/etc/drunner/vault.env"),
        url=_line("url", start.store, "s3://bucket/prefix"),
        off="" if start.store else "# ",
    )


def _line(key: str, value: object, example: object) -> str:
    """A setting; as a comment, if it has no value."""
    text = json.dumps(value or example, ensure_ascii=False)  # JSON's texts and lists are TOML's too
    return f"{'' if value else '# '}{key} = {text}"


_TEMPLATE = """\
# The settings of drunner-vault on this host. After a change: drunner-vault config check
# Settings that are commented out show an example, or what is so without them.

# Whom backups are encrypted to. The identities that open them do not belong on this host.
{recipients}

# Whose archives may be restored here besides our own: lines as `drunner-vault key signer` prints them there.
# signers = ["other.example namespaces=\\"drunner-vault-archive\\" ssh-ed25519 AAAA…"]

# Whose days and weeks retention counts in, and schedules go by. This host's own, if it is not said.
# timezone = "Europe/Berlin"

# KEY=VALUE lines for the environment of every command, such as AWS_ACCESS_KEY_ID. Only root should be able to read it.
{environment_file}

# A file for the textfile collector of Prometheus' node exporter.
# metrics = "/var/lib/prometheus/node-exporter/drunner-vault.prom"

# Where archives go: a directory (/backups), s3://bucket/prefix or ssh://user@host/path; any number of them.
{off}[stores.main]
{url}

# What is kept in it. The newest complete archive of a service is never deleted.
{off}[stores.main.retention]
{off}keep_daily = 7
{off}keep_weekly = 4
{off}keep_monthly = 12

# What `drunner-vault run nightly` does, and `drunner-vault schedule install` has done when the schedule says.
{off}[jobs.nightly]
{off}store = "main"
# Names or patterns of services.
# services = ["*"]
# exclude = ["scratch-*"]
# minute, hour, day of the month, month, day of the week; or @daily and the like.
{off}schedule = "30 2 * * *"
# timezone = "Europe/Berlin"
# Begin up to this much later, so that not all hosts do at once.
{off}jitter = "10m"
# After downtime, make up for what was missed.
# catch_up = true
# How many services at the same time.
# at_once = 1
# Other stores to copy to when that is done.
# copy_to = ["offsite"]
# Delete what retention no longer keeps, after success.
# prune = true
# As the options of `drunner-vault backup`.
# recipients = ["age1…"]
# images = "auto"
# level = 3
# threads = 0
# bandwidth_limit = "10M"
# background = true
# allow_partial = false
# How old the newest good archive may become until that is an alarm. By the schedule, if it is not said.
# max_age = "36h"
# For how long an archive may stay unverified. Not watched, if it is not said.
# max_unverified = "8d"
# Whom to tell; all of [notifications], if it is not said.
# notify = ["ops"]
# A check as Healthchecks has them, told of start, success and failure. Or ping_file = "/path", or ping_env = "NAME".
# ping = "https://hc-ping.com/your-uuid"

# A job can also prove that archives are good: verify reads them, drill restores them for real, rehearse opens them.
# [jobs.drill]
# task = "drill"
# store = "main"
# identity_files = ["/root/drill-key.txt"]
# schedule = "0 5 * * sun"

# Whom to tell, through Apprise: https://github.com/caronc/apprise/wiki
# [notifications.ops]
# A line each in a file; or urls_env = "NAME", or urls = ["mailto://…"] right here.
# urls_file = "/etc/drunner/ops.urls"
# Also possible: "success".
# on = ["failure", "recovery", "stale"]
"""
