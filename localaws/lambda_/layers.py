"""The layers of a function: found in each account, and their wrapper scripts.

Every layer version counts as shared with all accounts (Lambda developer guide, "Granting layer access to other
accounts"): moto finds those of the own account only. Lambda developer guide, "Packaging your layer content" and
"Modifying the runtime environment", about wrapper scripts.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moto.awslambda.models import lambda_backends

from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.awslambda.models import LambdaBackend

_ARN = re.compile(r"arn:[\w-]+:lambda:[\w-]+:(?P<account>\d{12}):layer:(?P<name>[^:]+):\d+")
ROOT, WRAPPER = "/opt", "AWS_LAMBDA_EXEC_WRAPPER"
# As the runtime starts a wrapper script: $0 is the script, and the rest of the arguments the command that it starts.
_START_WRAPPER = """
[ -f "$0" ] || { echo "$0: does not exist"; exit 127; }
[ -x "$0" ] || { echo "$0: is not an executable"; exit 126; }
exec "$0" "$@"
"""


def find(call: Callable[..., Any], self: LambdaBackend, name: str, *version: str) -> Any:
    """Wrap a search for a layer version: an ARN of another account is searched there."""
    account = name.split(":")[4] if name.startswith("arn:") else self.account_id
    return call(lambda_backends[account][self.region_name], name, *version)


def refuse_missing(backend: LambdaBackend, arn: str) -> None:
    """Raise AwsError, with how to publish a copy, for a layer version of another account that does not exist here."""
    match = _ARN.fullmatch(arn)
    if not match or match["account"] == backend.account_id or backend.layers_versions_by_arn(arn):
        return
    raise AwsError(
        "AccessDeniedException",
        f"The layer version {arn} does not exist in the local AWS, which has no layers of AWS accounts. Publish a copy "
        "and use its ARN. With credentials of AWS: curl -o layer.zip "
        f'"$(aws lambda get-layer-version-by-arn --arn {arn} --query Content.Location --output text)". In the local '
        f"AWS: aws lambda publish-layer-version --layer-name {match['name']} --zip-file fileb://layer.zip",
        403,
    )


def wrap(command: list[str], wrapper: str, task_root: str, layer_root: str, directory: Path) -> list[str]:
    """The command that starts the wrapper script of a function, which starts `command`.

    As on Lambda, the script gets the interpreter, its options, and a file to run as its last argument. The file is
    created in `directory`.
    """
    for root, folder in (("/var/task/", task_root), (f"{ROOT}/", layer_root)):
        if wrapper.startswith(root):
            wrapper = f"{folder}/{wrapper.removeprefix(root)}"
    script = command.index("-c") + 1
    text = f"import sys\nsys.argv = {['-c', *command[script + 1 :]]!r}\nexec({command[script]!r})\n"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    boot = directory / f"{hashlib.sha256(text.encode()).hexdigest()}.py"
    boot.write_text(text)
    arguments = ["/bin/sh", "-c", _START_WRAPPER, wrapper, *command[: script - 1], str(boot)]
    return [*command[:script], f"import os\nos.execv({arguments[0]!r}, {arguments!r})"]
