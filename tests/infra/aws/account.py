"""An account of AWS with the module in it: moto, which Terraform really applies it to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from functions.authorizer import rotation_handler
from tests import aws
from tests.aws import Aws
from tests.infra.aws.module import FOLDER

_PLUGINS = os.environ.get("TF_PLUGIN_DIR")
_CONFIG = os.environ.get("TF_CLI_CONFIG_FILE", "")

NEEDS_TERRAFORM = [
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on this machine"),
    pytest.mark.skipif(
        _PLUGINS is None and not Path(_CONFIG).is_file(),
        reason="set TF_PLUGIN_DIR to a folder with the aws provider, or TF_CLI_CONFIG_FILE to a file that names one",
    ),
]

_ROOT = """
provider "aws" {{
  region            = "{region}"
  s3_use_path_style = true
}}

module "pganalytics" {{
  source    = "{source}"
  artifacts = "{artifacts}"
  {variables}
}}

output "module" {{
  value = module.pganalytics
}}
"""


class Account:
    """What Terraform made, as an AWS client sees it."""

    made: dict[str, Any]

    def __init__(self, served: Aws, terraform: Callable[..., str], write: Callable[[str], None]) -> None:
        self._aws = served
        self._terraform = terraform
        self._write = write

    def apply(self, variables: str, *options: str) -> dict[str, Any]:
        """Apply the module with these variables; its outputs."""
        self._write(variables)
        self._terraform("apply", "-no-color", "-input=false", "-auto-approve", "-parallelism=30", *options)
        made: dict[str, Any] = json.loads(self._terraform("output", "-json"))["module"]["value"]
        return made

    def refused(self, variables: str) -> str:
        """Why the module with these variables is not even planned, in one line."""
        self._write(variables)
        with pytest.raises(AssertionError) as failed:
            self._terraform("plan", "-no-color", "-input=false", "-refresh=false")
        return re.sub(r"[\s│]+", " ", str(failed.value))

    def changes(self) -> set[str]:
        """What another plan would change, by address."""
        self._terraform("plan", "-no-color", "-input=false", "-parallelism=30", "-out=plan")
        planned = json.loads(self._terraform("show", "-json", "plan"))["resource_changes"]
        return {each["address"] for each in planned if each["change"]["actions"] not in (["no-op"], ["read"])}

    def variables(self, function: str) -> dict[str, str]:
        found = self.client("lambda").get_function_configuration(FunctionName=self.made["functions"][function])
        variables: dict[str, str] = found["Environment"]["Variables"]
        return variables

    def client(self, service: str) -> Any:
        return self._aws.client(service)

    def queue(self, output: str) -> dict[str, str]:
        found: dict[str, str] = self.client("sqs").get_queue_attributes(
            QueueUrl=self.made[output], AttributeNames=["All"]
        )["Attributes"]
        return found


@contextmanager
def moto() -> Iterator[Aws]:
    """moto's server, where the rotation is run: Secrets Manager and Terraform wait for its answer."""
    with aws.moto() as served:

        def run(function: Any, event: Any) -> Any:
            if not function.function_name.endswith("-rotation"):
                return event
            with pytest.MonkeyPatch.context() as patched:
                for name, value in {**function.environment_vars, **served.environment}.items():
                    patched.setenv(name, value)
                rotation_handler._environment.cache_clear()
                return rotation_handler.handler(event, None)

        with aws.invoked(run):
            yield served
        rotation_handler._environment.cache_clear()


def begin(served: Aws, folder: Path, artifacts: Path) -> Account:
    """An account with nothing in it, for which Terraform works in this folder."""

    def write(variables: str) -> None:
        root = _ROOT.format(region=aws.REGION, source=FOLDER, artifacts=artifacts, variables=variables)
        (folder / "main.tf").write_text(root)

    environment = {**os.environ, **served.environment, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    environment["TF_CLI_CONFIG_FILE"] = _CONFIG if Path(_CONFIG).is_file() else ""

    def terraform(*arguments: str) -> str:
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr[-8000:]
        return done.stdout

    write("")
    terraform("init", "-no-color", "-input=false", *([f"-plugin-dir={_PLUGINS}"] if _PLUGINS else []))
    terraform("validate", "-no-color")
    return Account(served, terraform, write)
