#!/usr/bin/python
"""A service, back from an archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drunner_vault_restore
short_description: Restore a service that is not here
description:
  - Restores a service from an archive. If anything fails, the host is left as it was.
  - A service of that name that is installed is never touched, so that the task can stay in a playbook.
options:
  name:
    description: What the service is to be called here.
    type: str
    required: true
  source:
    description:
      - A store (a name from the settings, or its URL), of which the newest archive of the service is taken; an archive
        in one; or a file or directory on the managed host.
    type: str
    required: true
  service:
    description: What the service is called in the store, if that is not I(name).
    type: str
  identity:
    description: The text of an identity file. It is on the host for as long as the restore takes.
    type: str
  identity_files:
    description: Identity files on the managed host.
    type: list
    elements: path
    default: []
  passphrase:
    description: The passphrase of the archive.
    type: str
  image:
    description: Install from this image instead of the one that was backed up.
    type: str
  replace:
    description: Replace the content of volumes that an earlier uninstall kept.
    type: bool
    default: false
  any_sender:
    description:
      - Even if nobody who is trusted on the host has signed the archive. C(signers) in the settings are better.
    type: bool
    default: false
  program:
    description: The program, if it is not on PATH.
    type: path
    default: drunner-vault
author: The authors of drunner-vault
"""

EXAMPLES = r"""
- name: Notes are back
  drunner_vault_restore:
    name: notes
    source: s3://backups/production
    identity: "{{ vault_recovery_key }}"
"""

RETURN = r"""
result:
  description: What the program printed, among it C(service), C(created), C(members) and C(seconds).
  type: dict
  returned: when the service was restored
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.drunner_vault import PROGRAM_OPTION, Program, flags, secret_file


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "source": {"type": "str", "required": True},
            "service": {"type": "str"},
            "identity": {"type": "str", "no_log": True},
            "identity_files": {"type": "list", "elements": "path", "default": []},
            "passphrase": {"type": "str", "no_log": True},
            "image": {"type": "str"},
            "replace": {"type": "bool", "default": False},
            "any_sender": {"type": "bool", "default": False},
            **PROGRAM_OPTION,
        },
        supports_check_mode=True,
    )
    program = Program(module)
    name = module.params["name"]
    if name in program.services():
        module.exit_json(changed=False, msg=f"{name} is installed already; nothing is restored over it", result={})
    if module.check_mode:
        module.exit_json(changed=True, result={})
    restore(module, program, name)


def restore(module: AnsibleModule, program: Program, name: str) -> None:
    """Do it; ends the task."""
    params = module.params
    options = ["--as", name, *flags(params, "image", "replace", "any_sender")]
    environment = {"DRUNNER_PASSPHRASE": params["passphrase"]} if params["passphrase"] else None
    with secret_file(module, params["identity"]) as secret:
        for path in (*params["identity_files"], *secret):
            options += ["--identity", path]
        program.change("restore", [params["source"], params["service"] or name], options, environment)


if __name__ == "__main__":
    main()
