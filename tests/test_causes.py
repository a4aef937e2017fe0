"""The cause by its name: what smoke and doctor say for each way in which a pipeline breaks, each made for real."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.project import function_code, target_aws

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.harness.forked import ForkedProject

SPEED = 5  # smoke looks for causes every few seconds
PRINT = "def lambda_handler(event, context):\n    print(event)\n"
FAIL = "def lambda_handler(event, context):\n    raise KeyError('no such order')\n"
READ_STREAM = {"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}
WRITE_LOGS = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
ONLY_DONE = json.dumps({"Filters": [{"Pattern": '{"dynamodb": {"NewImage": {"done": {"BOOL": [true]}}}}'}]})


def allow_only(*statements: dict[str, Any]) -> Callable[[ForkedProject, str], None]:
    def break_it(project: ForkedProject, name: str) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        put = project.client("iam").put_role_policy
        put(RoleName=f"{name}-role", PolicyName=f"{name}-policy", PolicyDocument=document)

    return break_it


def upload_other_code(project: ForkedProject, name: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("other.py", PRINT)
    project.client("lambda").update_function_code(FunctionName=name, ZipFile=file.getvalue())


def mapping_of(project: ForkedProject, name: str) -> str:
    (mapping,) = project.client("lambda").list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    return str(mapping["UUID"])


def disable_mapping(project: ForkedProject, name: str) -> None:
    project.client("lambda").update_event_source_mapping(UUID=mapping_of(project, name), Enabled=False)


def delete_mapping(project: ForkedProject, name: str) -> None:
    project.client("lambda").delete_event_source_mapping(UUID=mapping_of(project, name))


def disable_stream(project: ForkedProject, name: str) -> None:
    project.client("dynamodb").update_table(TableName=name, StreamSpecification={"StreamEnabled": False})


def renew_stream(project: ForkedProject, name: str) -> None:
    disable_stream(project, name)
    view = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    project.client("dynamodb").update_table(TableName=name, StreamSpecification=view)


def encrypt_filters_with_a_disabled_key(project: ForkedProject, name: str) -> None:
    kms = project.client("kms")
    key = kms.create_key()["KeyMetadata"]
    criteria, uuid = json.loads(ONLY_DONE), mapping_of(project, name)
    project.client("lambda").update_event_source_mapping(UUID=uuid, KMSKeyArn=key["Arn"], FilterCriteria=criteria)
    kms.disable_key(KeyId=key["KeyId"])


def reserve_nothing(project: ForkedProject, name: str) -> None:
    project.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)


def fail_an_update(project: ForkedProject, name: str) -> None:
    kms, update = project.client("kms"), project.client("lambda").update_function_configuration
    key = kms.create_key()["KeyMetadata"]
    update(FunctionName=name, KMSKeyArn=key["Arn"])
    kms.disable_key(KeyId=key["KeyId"])
    update(FunctionName=name, MemorySize=512)


def log_elsewhere(project: ForkedProject, name: str) -> None:
    update = project.client("lambda").update_function_configuration
    update(FunctionName=name, LoggingConfig={"LogGroup": "/jobs/nightly"})


def delete_role(project: ForkedProject, name: str) -> None:
    iam = project.client("iam")
    iam.delete_role_policy(RoleName=f"{name}-role", PolicyName=f"{name}-policy")
    iam.delete_role(RoleName=f"{name}-role")


def trust_only_ec2(project: ForkedProject, name: str) -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    project.client("iam").update_assume_role_policy(RoleName=f"{name}-role", PolicyDocument=document)


def delete_table(project: ForkedProject, name: str) -> None:
    project.client("dynamodb").delete_table(TableName=name)


def delete_function(project: ForkedProject, name: str) -> None:
    project.client("lambda").delete_function(FunctionName=name)


BEFORE_THE_PUT = {
    "mapping disabled": (disable_mapping, r"mapping [0-9a-f-]{36} is Disabl(ed|ing) \(User action\)\n  try: .*resume"),
    "no mapping": (delete_mapping, r"has no mapping on the stream of table \S+, arn:\S+\n  try: invoke map-stream"),
    "stream off": (disable_stream, r"table \S+ has no stream\n  try: invoke create-table map-stream"),
    "mapping on an old stream": (renew_stream, r"mapping \S+ reads arn:\S+, not .*\n  try: invoke map-stream"),
    "filter cannot be decrypted": (encrypt_filters_with_a_disabled_key, r"DisabledException: arn:\S+ is disabled"),
    "function throttled": (reserve_nothing, r"the reserved concurrency of function \S+ is 0, so it never runs"),
    "function failed": (
        fail_an_update,
        r"LastUpdateStatus of function \S+ is Failed: .*DisabledKMSKey\n  try: correct",
    ),
    "log group of another name": (log_elsewhere, r"logs to /jobs/nightly, but the settings name /aws/lambda/"),
    "no role": (delete_role, r"role \S+ does not exist\n  try: invoke create-role put-policy"),
    "no table": (delete_table, r"table \S+ does not exist\n  try: invoke create-table map-stream"),
    "no function": (delete_function, r"function \S+ does not exist\n  try: invoke deploy"),
}


ALIKE = {
    "no role", "no table", "no function", "log group of another name", "stream off", "function failed",
    "filter cannot be decrypted", "role cannot be assumed by Lambda", "role cannot write logs", "out of memory",
    "timeout", "handler missing in the zip",
}  # fmt: skip


def some_as_proofs(causes: dict[str, Any]) -> list[Any]:
    """Leave to the proofs what is like another cause."""
    return [pytest.param(each, marks=pytest.mark.proof) if each in ALIKE else each for each in causes]


@pytest.mark.parametrize("cause", some_as_proofs(BEFORE_THE_PUT))
def test_smoke_and_doctor_name_what_is_missing_or_off_and_smoke_writes_nothing(
    project: ForkedProject, cause: str
) -> None:
    name = re.sub(r"\W", "-", cause)
    break_it, evidence = BEFORE_THE_PUT[cause]
    project.run("deploy", PIPELINE_NAME=name)
    break_it(project, name)
    smoke = project.invoke("smoke", PIPELINE_NAME=name).expect(1)
    assert re.search(rf"^smoke: {cause}: .*{evidence}", smoke.stderr)
    assert smoke.writes == []
    doctor = project.invoke("doctor", PIPELINE_NAME=name).expect(1)
    assert re.search(rf"^FAIL  {cause}: .*{evidence}", doctor.stdout, re.MULTILINE)
    assert doctor.writes == []


def test_smoke_and_doctor_name_a_wrong_region(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="elsewhere")
    settings = {"PIPELINE_NAME": "elsewhere", "AWS_REGION": "eu-west-1"}
    assert "smoke: wrong region: neither table elsewhere nor" in project.refusal("smoke", **settings)
    doctor = project.invoke("doctor", **settings).expect(1)
    assert "role elsewhere-role exists (roles are global)" in doctor.stdout


def test_doctor_says_that_nothing_is_deployed(project: ForkedProject) -> None:
    doctor = project.invoke("doctor", PIPELINE_NAME="never-deployed").expect(1)
    assert "FAIL  not deployed, or wrong region or account: neither table never-deployed nor" in doctor.stdout


AFTER_THE_PUT = {
    "role cannot read the stream": (PRINT, {}, allow_only(WRITE_LOGS), r"do not allow dynamodb:DescribeStream, .* on"),
    "role cannot be assumed by Lambda": (
        PRINT,
        {},
        trust_only_ec2,
        r"Lambda is not allowed to assume the role. Its trust policy needs",
    ),
    "role cannot write logs": (PRINT, {}, allow_only(READ_STREAM), r"do not allow logs:CreateLogStream, logs:PutLog"),
    "handler missing in the zip": (PRINT, {}, upload_other_code, r"Unable to import module 'example': No module named"),
    "import fails": ("import nowhere\nlambda_handler = None\n", {}, None, r"No module named 'nowhere'"),
    "handler fails": (FAIL, {}, None, r"\[ERROR\] KeyError: 'no such order'"),
    "timeout": (
        "import time\ndef lambda_handler(event, context):\n    time.sleep(9)\n",
        {"FUNCTION_TIMEOUT": "1"},
        None,
        r"Task timed out after 1.00 seconds\n  try: raise FUNCTION_TIMEOUT \(1 s\)",
    ),
    "out of memory": (
        "def lambda_handler(event, context):\n    return len(b'x' * 10 ** 9)\n",
        {},
        None,
        r"signal: killed(.|\n)*\n  try: raise FUNCTION_MEMORY_SIZE \(128 MB\)",
    ),
}


@pytest.mark.parametrize("cause", some_as_proofs(AFTER_THE_PUT))
def test_smoke_and_doctor_name_what_fails_within_seconds(project: ForkedProject, cause: str) -> None:
    name = re.sub(r"\W", "-", cause)
    code, settings, break_it, evidence = AFTER_THE_PUT[cause]
    with function_code(project, code):
        project.run("deploy", PIPELINE_NAME=name, **settings)
    if break_it:
        break_it(project, name)
    smoke = project.invoke("smoke", PIPELINE_NAME=name, SMOKE_TIMEOUT="600", **settings).expect(1)
    assert re.search(rf"^{cause}: .*{evidence}", smoke.stderr, re.MULTILINE)
    doctor = project.invoke("doctor", PIPELINE_NAME=name, **settings).expect(1)
    assert re.search(rf"^FAIL  {cause}: .*{evidence}", doctor.stdout, re.MULTILINE)
    assert doctor.writes == []


@pytest.mark.proof
def test_smoke_and_doctor_name_a_problem_that_only_the_mapping_reports(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "partial", "FUNCTION_RESPONSE_TYPES": "ReportBatchItemFailures"}
    code = 'def lambda_handler(event, context):\n    return {"batchItemFailures": [{"itemIdentifier": ""}]}\n'
    with function_code(project, code):
        project.run("deploy", **settings)
    smoke = project.invoke("smoke", SMOKE_TIMEOUT="10", **settings).expect(1)
    evidence = (
        r"mapping reports a problem: LastProcessingResult of mapping \S+ is PROBLEM: Function call failed\n  try: \w"
    )
    assert re.search(rf"^{evidence}", smoke.stderr, re.MULTILINE)
    doctor = project.invoke("doctor", **settings).expect(1)
    assert re.search(rf"^FAIL  {evidence}", doctor.stdout, re.MULTILINE)


@pytest.mark.proof
def test_smoke_and_doctor_name_invocations_that_were_throttled(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "throttled", "FUNCTION_RESERVED_CONCURRENT_EXECUTIONS": "1", "FUNCTION_TIMEOUT": "60"}
    with function_code(project, "import time\ndef lambda_handler(event, context):\n    time.sleep(event['seconds'])\n"):
        project.run("deploy", **settings)
    invoke = project.client("lambda").invoke
    invoke(FunctionName="throttled", InvocationType="Event", Payload=json.dumps({"seconds": 30}))
    smoke = project.invoke("smoke", SMOKE_TIMEOUT="10", **settings).expect(1)
    evidence = r"function throttled: throttled invocations in the last \d+ minutes: \d+\n  try: raise FUNCTION_RESERVED"
    assert re.search(rf"^{evidence}", smoke.stderr, re.MULTILINE)
    assert re.search(rf"^smoke: not in the log yet; possible cause: {evidence}", smoke.stderr, re.MULTILINE)
    doctor = project.invoke("doctor", **settings).expect(1)
    assert re.search(rf"^FAIL  {evidence}", doctor.stdout, re.MULTILINE)


@pytest.mark.proof
def test_smoke_says_that_a_record_is_not_delivered_yet(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "slow"}
    project.run("deploy", "smoke", **settings)
    settings["MAXIMUM_BATCHING_WINDOW_IN_SECONDS"] = "300"
    project.run("map-stream", **settings)
    smoke = project.invoke("smoke", SMOKE_TIMEOUT="10", **settings).expect(1)
    assert re.search(
        r"^not delivered yet: the function logged nothing .*last result: OK\)\n  try: raise SMOKE_TIMEOUT",
        smoke.stderr,
        re.MULTILINE,
    )


def test_smoke_names_the_key_that_the_filter_asks_for_and_writes_nothing(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "filtering", "FILTER_CRITERIA": ONLY_DONE}
    project.run("deploy", **settings)
    smoke = project.invoke("smoke", **settings).expect(1)
    expected = "smoke: filter excludes the item: FILTER_CRITERIA does not match dynamodb.NewImage.done.BOOL of the item"
    assert expected in smoke.stderr
    assert smoke.writes == []
    project.run("smoke", SMOKE_ITEM='{"done": true}', **settings)


def test_doctor_names_the_key_in_which_the_records_differ_from_the_filter(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "excluding", "FILTER_CRITERIA": ONLY_DONE}
    project.run("deploy", **settings)
    project.run("put-item", "--item", '{"name": "x", "done": false}', **settings)
    doctor = project.invoke("doctor", **settings).expect(1)
    assert "FAIL  filter excludes the records: no record in the stream matches (1 checked)" in doctor.stdout
    assert "differs in dynamodb.NewImage.done.BOOL" in doctor.stdout


def test_doctor_names_records_from_before_a_mapping_that_starts_at_latest(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "late", "STARTING_POSITION": "LATEST"}
    project.run("create-table", **settings)
    project.run("put-item", "--item", '{"name": "x"}', **settings)
    project.run("deploy", **settings)
    doctor = project.invoke("doctor", **settings).expect(1)
    assert "FAIL  records before LATEST: matching records in the stream: 1" in doctor.stdout


def test_doctor_names_records_that_can_be_read_but_are_not_delivered(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "waiting", "MAXIMUM_BATCHING_WINDOW_IN_SECONDS": "300"}
    project.run("deploy", **settings)
    project.run("put-item", "--item", '{"name": "x"}', **settings)
    doctor = project.invoke("doctor", **settings).expect(1)
    assert "FAIL  readable but not delivered: matching records in the stream: 1; delivered by mapping" in doctor.stdout
    assert ": none; batching window: 300 s" in doctor.stdout


def test_smoke_and_doctor_name_the_record_that_blocks_the_shard(project: ForkedProject) -> None:
    settings = {"PIPELINE_NAME": "blocked", "MAXIMUM_RETRY_ATTEMPTS": "-1"}
    with function_code(project, FAIL):
        project.run("deploy", **settings)
    project.run("put-item", "--item", '{"name": "poison"}', **settings)
    wait_for_failures(project, "blocked", 2)
    for task in ("smoke", "doctor"):
        ended = project.invoke(task, **settings).expect(1)
        output = ended.stdout + ended.stderr
        assert re.search(r'a record blocks the shard: .* \(probably \d+  {"name": {"S": "poison"}}\) since \d', output)
        assert "[ERROR] KeyError: 'no such order'" in output


def wait_for_failures(project: ForkedProject, name: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while project.run("fetch-logs", "--last", "0", PIPELINE_NAME=name).count("[ERROR]") < count:
        assert time.monotonic() < deadline


@pytest.mark.proof
def test_doctor_suspects_a_function_that_writes_its_own_table(project: ForkedProject) -> None:
    loop = """
import boto3, uuid
dynamodb = boto3.client("dynamodb")

def lambda_handler(event, context):
    dynamodb.put_item(TableName="looping", Item={"name": {"S": str(uuid.uuid4())}})
"""
    with function_code(project, loop):
        project.run("deploy", PIPELINE_NAME="looping")
    allow_only(READ_STREAM, WRITE_LOGS)(project, "looping")
    project.run("put-item", "--item", '{"name": "x"}', PIPELINE_NAME="looping")
    deadline = time.monotonic() + 20
    expected = "FAIL  function may write its own table (a loop): its role can write to the table; in the last minute"
    while expected not in (output := project.invoke("doctor", PIPELINE_NAME="looping").stdout):
        assert time.monotonic() < deadline, output
    project.run("pause", PIPELINE_NAME="looping")


def test_doctor_finds_nothing_wrong_with_a_pipeline_that_works(project: ForkedProject) -> None:
    project.run("deploy", "smoke", PIPELINE_NAME="healthy")
    ended = project.invoke("doctor", "--json", PIPELINE_NAME="healthy").expect(0)
    result = json.loads(ended.stdout)["result"]
    assert result["healthy"] is True
    assert result["causes"] == []
    assert all(each["ok"] for each in result["machine"])
    assert ended.writes == []


@pytest.mark.proof  # a deploy
def test_doctor_reads_only_the_newest_invocations_of_a_busy_function(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="busy")
    now_ms, group = int(time.time() * 1000), {"logGroupName": "/aws/lambda/busy", "logStreamName": "made-up"}
    starts = [now_ms - 100 * number for number in range(1300, 0, -1)]
    events = [
        {"timestamp": start + end, "message": f"{'REPORT' if end else 'START'} RequestId: {start}"}
        for start in starts
        for end in (0, 50)
    ]
    project.client("logs").create_log_stream(**group)
    project.client("logs").put_log_events(**group, logEvents=events)
    shown = project.invoke("--echo", "doctor", PIPELINE_NAME="busy").expect(0).stderr
    calls = re.findall(r"^aws logs filter-log-events .*", shown.replace("\\\n", " "), re.MULTILINE)
    (read,) = [each for each in calls if "--filter-pattern" not in each]
    assert int(read.partition("--start-time ")[2].split()[0]) >= starts[-1000]


@pytest.mark.proof
def test_doctor_does_not_judge_what_the_caller_may_not_read(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="limited")
    allow_only(WRITE_LOGS)(project, "limited")
    iam = project.client("iam")
    iam.create_user(UserName="limited")
    readable = {"Effect": "Allow", "Action": ["dynamodb:*", "lambda:*"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [readable]})
    iam.put_user_policy(UserName="limited", PolicyName="without-iam-and-logs", PolicyDocument=document)
    key = iam.create_access_key(UserName="limited")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    settings = {**target_aws(project.endpoint), **keys, "PIPELINE_NAME": "limited"}
    doctor = project.invoke("doctor", "--json", **settings).expect(0)
    assert json.loads(doctor.stdout)["result"]["causes"] == []


def test_the_document_of_doctor_has_each_cause_with_its_evidence_and_fix(project: ForkedProject) -> None:
    project.run("deploy", PIPELINE_NAME="paused")
    project.run("pause", PIPELINE_NAME="paused")
    document = json.loads(project.invoke("doctor", "--json", PIPELINE_NAME="paused").expect(1).stdout)
    (cause,) = document["result"]["causes"]
    assert (cause["name"], cause["fix"]) == ("mapping disabled", "invoke resume")
    assert document["error"] == "doctor: 1 cause found: mapping disabled"


def test_doctor_reports_a_clock_that_aws_refuses(project: ForkedProject) -> None:
    doctor = project.invoke("doctor", PIPELINE_NAME="never-deployed", CLOCK_OFFSET="400").expect(1)
    assert re.search(
        r"^FAIL  clock: it is \d+ s ahead of AWS's clock; AWS allows up to 5 minutes", doctor.stdout, re.MULTILINE
    )


def test_doctor_reports_packages_of_other_versions(project: ForkedProject) -> None:
    file = project.folder / "requirements.txt"
    before = file.read_text()
    file.write_text(re.sub(r"^boto3==\S+", "boto3==1.0.0", before, flags=re.MULTILINE))
    try:
        doctor = project.invoke("doctor", PIPELINE_NAME="never-deployed").expect(1)
    finally:
        file.write_text(before)
    assert re.search(r"FAIL  other versions: boto3 \S+ instead of 1.0.0\n  try: pip install", doctor.stdout)
