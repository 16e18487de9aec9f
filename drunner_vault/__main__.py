"""`python -m drunner_vault` is the same program as `drunner-vault`."""

from drunner_vault.cli import main

main()
