"""The layers of a function are in /opt.

Sources: Lambda guide, "Packaging your layer content", "Modifying the runtime environment" (wrapper scripts).
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.lambda_ import runtimes
from tests.localaws.conftest import REGION
from tests.localaws.deployed import deploy

ISOLATED = not runtimes.isolation_error(sys.executable, Path(sys.prefix)) and Path("/opt").is_dir()
CODE = """
    import os, subprocess, sys
    def handler(event, context):
        return eval(event)
"""


def layer(client: Any, *links: tuple[str, str], **files: str) -> str:
    """Publish a layer with links, and executable files, whose names have "__" for "/"; return its ARN."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name.replace("__", "/"))
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, text)
        for name, target in links:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, target)
    answer = client("lambda").publish_layer_version(LayerName="files", Content={"ZipFile": content.getvalue()})
    arn: str = answer["LayerVersionArn"]
    return arn


def test_a_program_of_a_layer_is_in_the_path(client: Any) -> None:
    function = deploy(client, CODE, Layers=[layer(client, bin__hello="#!/bin/sh\necho hello\n")])
    assert function.invoke("subprocess.check_output(['hello'], text=True)").payload == "hello\n"


def test_the_library_folder_of_the_layers_comes_after_that_of_the_code(client: Any) -> None:
    function = deploy(client, CODE, Layers=[layer(client, lib__a="here")])
    paths = function.invoke("os.environ['LD_LIBRARY_PATH'].split(':')").payload
    assert function.invoke("os.environ['LAMBDA_TASK_ROOT']").payload == paths[0]
    assert function.invoke(f"open({paths[-1]!r} + '/a').read()").payload == "here"


def test_layers_share_one_folder_in_which_the_later_file_wins(client: Any) -> None:
    layers = [layer(client, python__a="A = 1", bin__x="lower"), layer(client, python__b="B = 2", bin__x="upper")]
    function = deploy(client, CODE, Layers=layers)
    folder = function.invoke("sys.path[1]").payload
    assert function.invoke(f"sorted(os.listdir({folder!r}))").payload == ["a", "b"]
    assert function.invoke(f"open({folder!r} + '/../bin/x').read()").payload == "upper"


def test_link_of_a_layer_leads_to_the_file_of_a_later_layer(client: Any) -> None:
    layers = [layer(client, ("lib/a", "../bin/x"), bin__x="lower"), layer(client, bin__x="upper")]
    function = deploy(client, CODE, Layers=layers)
    folder = "os.environ['LD_LIBRARY_PATH'].split(':')[-1]"
    assert function.invoke(f"open({folder} + '/a').read()").payload == "upper"


@pytest.mark.skipif(not ISOLATED, reason="the system does not let functions have mounts of their own")
def test_layers_are_in_opt_where_the_kernel_allows_it(client: Any) -> None:
    function = deploy(client, CODE, Layers=[layer(client, python__a="A = 1", any__file="text")])
    result = function.invoke("[sys.path[1], os.environ['PATH'][-8:], open('/opt/any/file').read()]").payload
    assert result == ["/opt/python", "/opt/bin", "text"]


# The script of the guide: it adds options of the interpreter before the file to run.
WRAPPER = """#!/bin/bash
args=("$@")
export WRAPPED="$AWS_LAMBDA_FUNCTION_NAME"
exec "${args[@]:0:$#-1}" -X dev "${args[@]: -1}"
"""


def test_a_wrapper_script_starts_the_runtime(client: Any) -> None:
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}}
    function = deploy(client, CODE, Layers=[layer(client, wrapper=WRAPPER)], Environment=variables)
    assert function.invoke("[os.environ['WRAPPED'], sys.flags.dev_mode]").payload == [function.name, True]


@pytest.mark.skipif(not ISOLATED, reason="the system does not let functions have mounts of their own")
def test_a_wrapper_script_sees_the_layers_and_the_code_where_lambda_has_them(client: Any) -> None:
    script = '#!/bin/sh\nexport SEEN="$0 $(ls /opt) $(ls /var/task) $(pwd)"\nexec "$@"\n'
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}}
    function = deploy(client, CODE, Layers=[layer(client, wrapper=script)], Environment=variables)
    assert function.invoke("os.environ['SEEN']").payload == "/opt/wrapper wrapper code.py /var/task"


def test_a_wrapper_script_that_does_not_exist_ends_the_process(client: Any) -> None:
    variables = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/none"}}
    function = deploy(client, CODE, Environment=variables)
    result = function.invoke("1")
    assert result.payload["errorMessage"].endswith("Runtime exited with error: exit status 127")
    assert any("none: does not exist" in line for line in function.lines())


def test_a_layer_of_another_account_is_refused_with_how_to_publish_a_copy(client: Any) -> None:
    arn = f"arn:aws:lambda:{REGION}:017000801446:layer:AWSLambdaPowertoolsPythonV3-python312-x86_64:7"
    with pytest.raises(ClientError, match=r"--layer-name AWSLambdaPowertoolsPythonV3-python312-x86_64 ") as refusal:
        deploy(client, Layers=[arn])
    assert refusal.value.response["Error"]["Code"] == "AccessDeniedException"
