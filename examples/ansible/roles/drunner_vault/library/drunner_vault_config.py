#!/usr/bin/python
"""The settings of a host, which replace the old ones only if they are well."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drunner_vault_config
short_description: Write vault.toml
description:
  - Writes the settings of drunner-vault. They are checked first, and take the place of the old ones only if nothing is
    wrong with them; otherwise everything that is wrong is said, and the old ones stay.
options:
  content:
    description: The whole file, as TOML.
    type: str
    required: true
  directory:
    description: Where it is. C(DRUNNER_CONFIG_DIR), or else C(/etc/drunner), if it is not said.
    type: path
  mode:
    description: Its mode, in octal digits. Secrets belong into the environment file, but may be in here.
    type: str
    default: "0600"
  online:
    description: Also ask every store whether it can be reached.
    type: bool
    default: false
  validate:
    description: Check it first. Off, it is not known whether the program will take it.
    type: bool
    default: true
  program:
    description: The program, if it is not on PATH.
    type: path
    default: drunner-vault
author: The authors of drunner-vault
"""

EXAMPLES = r"""
- name: Backups go to our bucket
  drunner_vault_config:
    content: "{{ lookup('ansible.builtin.template', 'vault.toml.j2') }}"
    online: true
"""

RETURN = r"""
result:
  description: What C(drunner-vault config check) printed, C(file), C(ok) and C(problems).
  type: dict
  returned: when the settings were checked
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.drunner_vault import PROGRAM_OPTION, Program, flags


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "content": {"type": "str", "required": True},
            "directory": {"type": "path"},
            "mode": {"type": "str", "default": "0600"},
            "online": {"type": "bool", "default": False},
            "validate": {"type": "bool", "default": True},
            **PROGRAM_OPTION,
        },
        supports_check_mode=True,
    )
    directory = Path(module.params["directory"] or os.environ.get("DRUNNER_CONFIG_DIR") or "/etc/drunner")
    file, content, mode = directory / "vault.toml", module.params["content"].rstrip("\n") + "\n", wanted_mode(module)
    before = file.read_text(encoding="utf-8") if file.exists() else None
    diff = {"before": before or "", "after": content, "before_header": str(file), "after_header": str(file)}
    changed = before != content or file.stat().st_mode & 0o7777 != mode
    if not directory.is_dir():
        if module.check_mode:
            module.exit_json(changed=True, diff=diff, msg=f"{directory} is not there yet, so nothing could be checked")
        module.fail_json(msg=f"{directory} is no directory; make it first")
    result = put_in_place(module, file, content, mode, changed)
    module.exit_json(changed=changed, diff=diff, result=result)


def wanted_mode(module: AnsibleModule) -> int:
    """The file's mode. Fails the task if it is none."""
    try:
        return int(module.params["mode"], 8)
    except ValueError:
        module.fail_json(msg=f'mode {module.params["mode"]} is none; write it as in mode: "0600"')
        raise


def put_in_place(module: AnsibleModule, file: Path, content: str, mode: int, changed: bool) -> dict[str, Any]:
    """Write the file if there is nothing wrong with it; returns what the program said of it. It is checked even if it
    has not changed: what it names may have."""
    # beside its place, since relative paths in it start there
    handle, name = tempfile.mkstemp(dir=str(file.parent), prefix=".vault.toml-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(handle)
        result = checked(module, name, file) if module.params["validate"] else {}
        if changed and not module.check_mode:
            Path(name).chmod(mode)
            module.atomic_move(name, str(file))
            file.chmod(mode)  # a move over an old file may keep that one's
    finally:
        Path(name).unlink(missing_ok=True)
    return result


def checked(module: AnsibleModule, staged: str, file: Path) -> dict[str, Any]:
    """What the program says of settings that are well. Fails the task if they are not."""
    program = Program(module)
    if not program.is_installed:
        return {}
    ended = program.call(
        "config check", [staged], flags(module.params, "online"), {"DRUNNER_CONFIG_DIR": str(file.parent)}
    )
    if ended.error:
        program.fail(ended)
    # the lines are those of the file that was refused, and is gone; in the end it would have had this name
    problems = [
        {key: text.replace(staged, str(file)) for key, text in problem.items()}
        for problem in ended.document["problems"]
    ]
    result = {**ended.document, "file": str(file), "problems": problems}
    if problems:
        said = "; ".join(f"{problem['message']} ({problem['hint']})" for problem in problems)
        module.fail_json(msg=f"the settings are refused, and {file} stays as it is: {said}", result=result)
    return result


if __name__ == "__main__":
    main()
