"""What runs `examples/ansible` as a stranger would who has copied it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.engines import CHECKOUT, Completed, Host

EXAMPLE = CHECKOUT / "examples" / "ansible"
_RECAP = re.compile(r"^\S+ +: (ok=.*)$", re.MULTILINE)
_NOT_A_DEPENDENCY = ("drunner", "_drunner", "__editable__", "pip", "__pycache__")


@dataclass(frozen=True)
class Played:
    """A playbook that was run. counts: of the recap, by their names."""

    done: Completed
    counts: dict[str, int]

    @property
    def said(self) -> str:
        """All it printed, in one line."""
        return " ".join(f"{self.done.stdout} {self.done.stderr}".split())


class ControlNode:
    """A copy of the example below ``directory``, whose only host is ``host``; variables are said on the command line.
    ``environment``: in which a program finds what it depends on."""

    def __init__(self, directory: Path, host: Host, variables: dict[str, Any]) -> None:
        self.directory, self.host = directory, host
        shutil.copytree(EXAMPLE, directory, dirs_exist_ok=True)
        local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory = {"docker_hosts": {"hosts": {"one.example.com": local}}}
        (directory / "inventory.yml").write_text(json.dumps(inventory))  # JSON is YAML
        link_dependencies(directory / "dependencies")
        self.environment = {"PYTHONPATH": str(directory / "dependencies")}
        self.variables = variables | {"drunner_vault_requirement": f"files/{build_wheel(directory / 'files').name}"}

    def play(self, playbook: str, *options: str, code: int = 0, **variables: Any) -> Played:
        """``ansible-playbook``, with further variables. Fails if it does not exit with this code."""
        given = ["--extra-vars", json.dumps(self.variables | variables)]
        done = self.run("playbook", playbook, *options, *given)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        (recap,) = _RECAP.findall(done.stdout)
        return Played(done, {name: int(count) for name, count in (word.split("=") for word in recap.split())})

    def play_tasks(self, *tasks: dict[str, Any]) -> list[dict[str, Any]]:
        """What became of each of these tasks, whether or not it failed."""
        listed = [{**task, "register": f"task{at}", "ignore_errors": True} for at, task in enumerate(tasks)]
        results = ", ".join(task["register"] for task in listed)
        written = {"content": f"{{{{ [{results}] | to_json }}}}", "dest": str(self.directory / "results.json")}
        play = {"hosts": "docker_hosts", "gather_facts": False, "environment": "{{ drunner_vault_environment }}"}
        (self.directory / "tasks.yml").write_text(
            json.dumps([{**play, "tasks": [*listed, {"ansible.builtin.copy": written}]}])
        )
        self.play("tasks.yml")
        found = json.loads((self.directory / "results.json").read_text())
        assert isinstance(found, list)
        return found

    def run(self, program: str, *arguments: str) -> Completed:
        """A program of Ansible's."""
        quick = {"ANSIBLE_GATHERING": "explicit", "ANSIBLE_PIPELINING": "1"}
        environment = {"ANSIBLE_NOCOLOR": "1", **quick, **self.environment}
        command = [sys.executable, "-m", "ansible", program, *arguments]
        return self.host.run(*command, env=environment, cwd=self.directory, check=False)


def link_dependencies(directory: Path) -> None:
    """What the program depends on, without the program: nothing needs to be fetched to install it."""
    directory.mkdir()
    for place in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(place).iterdir():
            if not path.name.startswith(_NOT_A_DEPENDENCY):
                (directory / path.name).symlink_to(path)


def build_wheel(directory: Path) -> Path:
    """The program as pip installs it, made from this checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    return wheel
