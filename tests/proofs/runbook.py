"""Runbooks of settings that nobody would think of build what `invoke deploy` builds, and remove all of it.

`python -m soak.runbook [COUNT]`: so many settings; 50 is the default. Each takes about 15 seconds: the AWS CLI starts
some forty times.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from localaws import control
from pipeline import chains, cleaning, recording, runbook_text, session, steps
from pipeline.report import Report
from pipeline.settings import Settings, load
from tests.forks import count_argument
from tests.snapshot import everything

ROOT = Path(__file__).resolve().parents[1]


def names(more: str, shortest: int, longest: int) -> st.SearchStrategy[str]:
    """Names of letters, digits and `more`; often as short or as long as AWS takes them."""
    letters = st.sampled_from("abcXYZ019" + more)
    lengths = st.sampled_from([shortest, longest]) | st.integers(shortest, longest)
    return lengths.flatmap(lambda length: st.text(letters, min_size=length, max_size=length))


TAGS = st.dictionaries(
    st.text("abc ü_.:/=+-@1", min_size=1, max_size=20), st.text("abc ü_.:/=+-@1", max_size=20), max_size=3
)
VARIABLES = st.dictionaries(
    st.from_regex(r"V[A-Za-z0-9_]{1,8}", fullmatch=True),
    st.text(st.characters(codec="utf-8", min_codepoint=32) | st.sampled_from("\t\n\r'\"$`\\"), max_size=20),
    max_size=3,
)
DESCRIPTION = st.text("abc '\"$`\\!~-<>&|;()é", max_size=30)
PATTERN = st.sampled_from(
    ['{"eventName": ["INSERT"]}', '{"dynamodb": {"Keys": {"k": {"S": ["it\'s", "a\\\\b", "ü"]}}}}']
)
AWS_POLICY = "arn:aws:iam::aws:policy/"
CHOSEN = st.fixed_dictionaries(
    {
        "PIPELINE_NAME": names("-_", 3, 50),
        "TABLE_NAME": names("-_.", 3, 255),
        "ROLE_NAME": names("_+=,.@-", 1, 64),
        "POLICY_NAME": names("_+=,.@-", 1, 128),
        "FUNCTION_NAME": names("-_", 1, 64),
    },
    optional={
        "TABLE_KEY": st.builds("{}:{}".format, st.text("a b'\"$`\\ü-", min_size=1, max_size=9), st.sampled_from("SNB")),
        "TABLE_SORT_KEY": st.builds("sort {}:{}".format, st.text("ab'\"$`ü", max_size=9), st.sampled_from("SNB")),
        "TABLE_BILLING_MODE": st.sampled_from(["PAY_PER_REQUEST", "PROVISIONED"]),
        "TABLE_POINT_IN_TIME_RECOVERY_ENABLED": st.sampled_from(["true", "false"]),
        "STREAM_VIEW_TYPE": st.sampled_from(["NEW_AND_OLD_IMAGES", "NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"]),
        "TAGS": TAGS.map(json.dumps),
        "TABLE_OPTIONS": st.just(json.dumps({"TableClass": "STANDARD_INFREQUENT_ACCESS"})),
        "ROLE_PERMISSIONS_BOUNDARY": st.just(f"{AWS_POLICY}AdministratorAccess"),
        "ROLE_MANAGED_POLICY_ARNS": st.just(f"{AWS_POLICY}AWSXRayDaemonWriteAccess"),
        "ROLE_OPTIONS": st.builds(lambda text: json.dumps({"Description": text}), DESCRIPTION),
        "FUNCTION_OPTIONS": st.builds(lambda text: json.dumps({"Description": text}), DESCRIPTION),
        "FUNCTION_ENVIRONMENT": VARIABLES.map(json.dumps),
        "FUNCTION_MEMORY_SIZE": st.integers(128, 10240).map(str),
        "FUNCTION_TIMEOUT": st.integers(1, 900).map(str),
        "FUNCTION_ARCHITECTURE": st.sampled_from(["x86_64", "arm64"]),
        "FUNCTION_EPHEMERAL_STORAGE": st.integers(512, 10240).map(str),
        "FUNCTION_TRACING": st.sampled_from(["Active", "PassThrough"]),
        "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": st.integers(0, 10).map(str),
        "FUNCTION_LOG_FORMAT": st.sampled_from(["Text", "JSON"]),
        "LOG_RETENTION_IN_DAYS": st.sampled_from(["0", "1", "3653"]),
        "BATCH_SIZE": st.integers(1, 10000).map(str),
        "MAXIMUM_RETRY_ATTEMPTS": st.integers(-1, 10000).map(str),
        "MAXIMUM_RECORD_AGE_IN_SECONDS": st.sampled_from(["-1", "60", "604800"]),
        "BISECT_BATCH_ON_FUNCTION_ERROR": st.sampled_from(["true", "false"]),
        "FUNCTION_RESPONSE_TYPES": st.sampled_from(["ReportBatchItemFailures", "none"]),
        "PARALLELIZATION_FACTOR": st.integers(1, 10).map(str),
        "TUMBLING_WINDOW_IN_SECONDS": st.sampled_from(["0", "900"]),
        "ON_FAILURE": st.sampled_from(["arn:aws:sqs:us-east-1:000000000000:given-up", "arn:aws:s3:::given-up"]),
        "MAPPING_ENABLED": st.sampled_from(["true", "false"]),
        "STARTING_POSITION": st.sampled_from(["LATEST", "TRIM_HORIZON"]),
        "FILTER_CRITERIA": PATTERN.map(lambda pattern: json.dumps({"Filters": [{"Pattern": pattern}]})),
    },
)


def main() -> None:
    """Compare so many settings, and print how many there were."""
    with tempfile.TemporaryDirectory() as folder:
        compared = prove(Path(folder), count_argument(50))
    print(f"{compared} runbooks built what deploy builds, attribute by attribute, and left nothing")


def prove(folder: Path, count: int) -> int:
    """Compare so many settings, the same ones each time; how many there were."""
    compared = 0

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(chosen=CHOSEN)
    def each(chosen: dict[str, str]) -> None:
        nonlocal compared
        compare(folder, chosen)
        compared += 1
        print(f"{compared} of {count}", flush=True)

    try:
        each()
    finally:
        control.stop(folder / "target")
    return compared


def compare(folder: Path, chosen: dict[str, str]) -> None:
    """The runbook of these settings builds what deploy builds; clean leaves nothing."""
    wanted = load(None, chosen, {})
    target, _ = control.start(folder / "target", 0, 1)
    client = clients(target.endpoint)
    deployed = deploy_and_clean(wanted, target.endpoint)
    script = folder / "runbook.sh"
    recorded, _ = control.start(folder / "recorded", 0, 1)
    try:
        calls = recording.record(wanted, recorded.endpoint, ROOT)
    finally:
        control.stop(folder / "recorded")
    script.write_text(runbook_text.script(wanted, calls), encoding="utf-8")
    shell(script, target.endpoint, "deploy", wanted.function_environment)
    built = everything(client)
    assert built == deployed, f"{chosen}\nbuilt    {built}\ndeployed {deployed}"
    shell(script, target.endpoint, "clean", {})
    assert not any(everything(client).values())


def deploy_and_clean(wanted: Settings, endpoint: str) -> dict[str, Any]:
    """What AWS has after `invoke deploy`, which `invoke clean` then removes."""
    run = steps.Run(wanted, session.connect(wanted, endpoint), ROOT)
    chains.deploy(run, Report("deploy", quiet=True))
    found = everything(clients(endpoint))
    list(cleaning.clean(run, delete_data=True))
    return found


def clients(endpoint: str) -> Any:
    """A function from a service's name to a client of this AWS."""
    made: Any = boto3.Session("local", "local", region_name="us-east-1")
    return lambda service: made.client(service, endpoint_url=endpoint)


def shell(script: Path, endpoint: str, word: str, variables: Any) -> None:
    """Run the script as an operator does."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(script.parent),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        **variables,
    }
    command = ["sh", str(script), word]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


if __name__ == "__main__":
    main()
