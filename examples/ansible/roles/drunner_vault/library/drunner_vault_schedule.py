#!/usr/bin/python
"""Who starts the jobs of the settings, and when."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drunner_vault_schedule
short_description: Have jobs started when vault.toml says
description:
  - Makes timers of systemd, or a table of cron, for all jobs that have a schedule in the settings, and for an hourly
    look at whether backups are as they should be. To be called after each change of the settings.
options:
  state:
    description: V(present) has jobs started, V(absent) has none started any more.
    type: str
    choices: [present, absent]
    default: present
  system:
    description: Who is to start jobs. systemd where it runs, else cron, if it is not said.
    type: str
    choices: [cron, systemd]
  directory:
    description: Where its files are, for an image or a host that does not run yet. Only files are written then.
    type: path
  program:
    description: The program, if it is not on PATH.
    type: path
    default: drunner-vault
notes:
  - In check mode it is skipped if no job has a schedule, since then it cannot be told whether entries are left over.
author: The authors of drunner-vault
"""

EXAMPLES = r"""
- name: Jobs are started when the settings say
  drunner_vault_schedule:
"""

RETURN = r"""
result:
  description: What the program printed, with I(state=present) C(written) and C(removed), the names of entries.
  type: raw
  returned: when the program had something to do
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.drunner_vault import PROGRAM_OPTION, Program, flags

_WELL = {"present": ("cron", "systemd"), "absent": ("-",)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "system": {"type": "str", "choices": ["cron", "systemd"]},
            "directory": {"type": "path"},
            **PROGRAM_OPTION,
        },
        supports_check_mode=True,
    )
    program = Program(module)
    options = flags(module.params, "system", "directory")
    if module.check_mode:
        predict(module, program, options)
    program.change("schedule install" if module.params["state"] == "present" else "schedule remove", options=options)


def predict(module: AnsibleModule, program: Program, options: list[str]) -> None:
    """Say whether anything would change; ends the task."""
    if not program.is_installed:
        module.exit_json(changed=module.params["state"] == "present", result={})
    jobs = program.ask("schedule list", options=options)
    if not jobs:
        module.exit_json(skipped=True, msg="no job has a schedule, so it cannot be told what is left over")
    module.exit_json(changed=jobs[0]["state"] not in _WELL[module.params["state"]], result={})


if __name__ == "__main__":
    main()
