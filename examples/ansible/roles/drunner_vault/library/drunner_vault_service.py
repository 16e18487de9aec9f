#!/usr/bin/python
"""A service, installed or removed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drunner_vault_service
short_description: Install and remove services
description:
  - Installs a service from an image that carries C(/drunner/servicerunner), updates it, or removes it.
options:
  name:
    description: What the service is called here.
    type: str
    required: true
  image:
    description: The image it is installed from. Needed unless I(state=absent).
    type: str
  state:
    description:
      - V(present) installs it if it is not installed.
      - V(latest) also brings it up to date with its image, which is pulled.
      - V(absent) removes it. Its volumes are kept, unless I(purge=true).
    type: str
    choices: [present, latest, absent]
    default: present
  reinstall:
    description:
      - If the service is installed from another image, install it anew from I(image), over the volumes it has.
      - Without this, another image is an error.
    type: bool
    default: false
  purge:
    description: With I(state=absent), remove its volumes too, with all its data.
    type: bool
    default: false
  program:
    description: The program, if it is not on PATH.
    type: path
    default: drunner-vault
notes:
  - In check mode nothing is pulled, so for an installed service I(state=latest) is skipped.
author: The authors of drunner-vault
"""

EXAMPLES = r"""
- name: Notes are kept here
  drunner_vault_service:
    name: notes
    image: registry.example/notes:2
"""

RETURN = r"""
result:
  description: What the program printed, such as C(service) and C(image).
  type: dict
  returned: when the program had something to do
msg:
  description: Why there was nothing to do, or what went wrong.
  type: str
  returned: when nothing was changed
"""

from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.drunner_vault import PROGRAM_OPTION, Program

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "image": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "latest", "absent"], "default": "present"},
            "reinstall": {"type": "bool", "default": False},
            "purge": {"type": "bool", "default": False},
            **PROGRAM_OPTION,
        },
        required_if=[("state", "present", ["image"]), ("state", "latest", ["image"])],
        supports_check_mode=True,
    )
    program = Program(module)
    if module.params["state"] == "absent":
        remove(module, program)
    else:
        install(module, program)


def install(module: AnsibleModule, program: Program) -> None:
    """Have it installed, and with state=latest up to date."""
    name, image = module.params["name"], module.params["image"]
    installed = program.services().get(name)
    if installed is None:
        do(module, program, "install", [image, name])
    if not same_image(installed["image"], image):
        if module.params["reinstall"]:
            do(module, program, "recover", [name, image])
        module.fail_json(
            msg=f"{name} is installed from {installed['image']}. To change that to {image}: reinstall: true"
        )
    if module.params["state"] == "latest":
        if module.check_mode:
            module.exit_json(skipped=True, msg=f"whether {name} is up to date is only known after its image is pulled")
        do(module, program, "update", [name])
    module.exit_json(changed=False, msg=f"{name} is installed already from {installed['image']}", result={})


def remove(module: AnsibleModule, program: Program) -> None:
    """Have it removed, perhaps with its data."""
    name = module.params["name"]
    if name not in program.services():
        module.exit_json(changed=False, msg=f"{name} is not installed", result={})
    do(module, program, "obliterate" if module.params["purge"] else "uninstall", [name])


def do(module: AnsibleModule, program: Program, command: str, words: Sequence[str]) -> None:
    """Run a command, but in check mode only say so; ends the task."""
    if module.check_mode:
        module.exit_json(changed=True, msg=f"would be done by: drunner-vault {command} {' '.join(words)}", result={})
    program.change(command, words)


def same_image(one: str, other: str) -> bool:
    """Whether two references name the same image, `latest` being what no tag means."""

    def full(reference: str) -> str:
        last = reference.rpartition("/")[2]
        return reference if ":" in last or "@" in last else f"{reference}:latest"

    return full(one) == full(other)


if __name__ == "__main__":
    main()
