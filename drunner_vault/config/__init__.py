"""The settings of a host: vault.toml."""

from drunner_vault.config.jobs import JobSettings, NotificationSettings
from drunner_vault.config.secret import Secret
from drunner_vault.config.settings import Settings, StoreSettings, read_listeners, read_settings
from drunner_vault.config.values import format_length

__all__ = [
    "JobSettings",
    "NotificationSettings",
    "Secret",
    "Settings",
    "StoreSettings",
    "format_length",
    "read_listeners",
    "read_settings",
]
