#!/usr/bin/python
"""A backup, now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drunner_vault_backup
short_description: Back up a service, all services, or what a job says
description:
  - Backs up now, as before an upgrade. Backups at night are the schedule's.
  - A backup that could not read everything as it was fails the task, unless I(allow_partial=true); it is there all the
    same.
options:
  service:
    description: The service to back up.
    type: str
  all:
    description: Back up all services, each independent of the others.
    type: bool
    default: false
  job:
    description: Do what this job of the settings says, with its copies, pruning and alarms.
    type: str
  dest:
    description: A store (a name from the settings, or its URL), or an absolute path. Needed without I(job).
    type: str
  unless_newer:
    description:
      - Do nothing if the store has a complete archive of the service from this host that is no older than this, as in
        V(20h) or V(7d). Makes the task idempotent.
    type: str
  recipient:
    description: Whom it is encrypted to, instead of those in the settings.
    type: list
    elements: str
    default: []
  passphrase:
    description: Encrypt with this passphrase instead.
    type: str
  unencrypted:
    description: Leave the archive in the clear.
    type: bool
    default: false
  images:
    description: Take the images along; V(auto) takes those that no registry could give again.
    type: str
    choices: [auto, always, never]
    default: auto
  keep:
    description: What retention is to keep, for stores that lock; C(last), C(daily) and so on, and C(within).
    type: dict
    default: {}
  bandwidth_limit:
    description: Write no more than this a second, as in V(10M).
    type: str
  background:
    description: Give way to all else on the host.
    type: bool
    default: false
  allow_partial:
    description: Accept an archive though files could not be read as they were.
    type: bool
    default: false
  program:
    description: The program, if it is not on PATH.
    type: path
    default: drunner-vault
author: The authors of drunner-vault
"""

EXAMPLES = r"""
- name: There is a backup of today
  drunner_vault_backup:
    service: notes
    dest: main
    unless_newer: 20h

- name: The job of the night is done now
  drunner_vault_backup:
    job: nightly
"""

RETURN = r"""
result:
  description:
    - What the program printed, among it C(archive), C(bytes), C(seconds) and C(paused).
    - If there was a newer one, its entry in the store, among it C(key), C(created) and C(size).
  type: dict
  returned: success
"""

import platform
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.drunner_vault import PROGRAM_OPTION, Program, flags

_OPTIONS = ("recipient", "unencrypted", "images", "bandwidth_limit", "background", "allow_partial")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "service": {"type": "str"},
            "all": {"type": "bool", "default": False},
            "job": {"type": "str"},
            "dest": {"type": "str"},
            "unless_newer": {"type": "str"},
            "recipient": {"type": "list", "elements": "str", "default": []},
            "passphrase": {"type": "str", "no_log": True},
            "unencrypted": {"type": "bool", "default": False},
            "images": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
            "keep": {"type": "dict", "default": {}},
            "bandwidth_limit": {"type": "str"},
            "background": {"type": "bool", "default": False},
            "allow_partial": {"type": "bool", "default": False},
            **PROGRAM_OPTION,
        },
        mutually_exclusive=[("job", "service"), ("job", "dest")],
        required_one_of=[("job", "dest")],
        supports_check_mode=True,
    )
    require_one(module)
    program = Program(module)
    newer = newest(module, program) if module.params["unless_newer"] and program.is_installed else None
    if newer:
        module.exit_json(changed=False, msg=f"there is one of {newer['created']}", result=newer)
    if module.check_mode:
        module.exit_json(changed=True, result={})
    back_up(module.params, program)


def require_one(module: AnsibleModule) -> None:
    """Fails the task unless it is clear what is to be backed up."""
    params = module.params
    if [bool(params["service"]), params["all"], bool(params["job"])].count(True) != 1:
        module.fail_json(msg="say one of: service, all: true, job")
    if params["unless_newer"] and (not params["service"] or params["dest"].startswith(("/", "."))):
        module.fail_json(msg="unless_newer needs a service, and a store by its name or URL, such as file:///backups")


def newest(module: AnsibleModule, program: Program) -> dict[str, Any] | None:
    """The newest complete archive that is new enough, if there is one."""
    service, span = module.params["service"], module.params["unless_newer"]
    options = ["--service", service, "--host", platform.node(), "--since", span, "--complete", "--latest"]
    found = program.ask("archives", [module.params["dest"]], options)
    return found[0] if found else None


def back_up(params: dict[str, Any], program: Program) -> None:
    """Do it; ends the task."""
    if params["job"]:
        program.change("run", [params["job"]])
    options = flags(params, "all", *_OPTIONS)
    for rule, number in params["keep"].items():
        options += [f"--keep-{rule}", str(number)]
    environment = {"DRUNNER_PASSPHRASE": params["passphrase"]} if params["passphrase"] else None
    program.change("backup", [word for word in (params["service"], params["dest"]) if word], options, environment)


if __name__ == "__main__":
    main()
