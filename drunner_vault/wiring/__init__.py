"""The one place that chooses concrete classes, from the environment and the settings.

What has to do with stores is in `wiring.stores`, and not imported here: most commands do without it.
"""

from drunner_vault.wiring.services import link_program, program_directory, require_root, service_host
from drunner_vault.wiring.settings import config_directory, retention, settings, timezone, trust

__all__ = [
    "config_directory",
    "link_program",
    "program_directory",
    "require_root",
    "retention",
    "service_host",
    "settings",
    "timezone",
    "trust",
]
