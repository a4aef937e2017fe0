"""Filter patterns: the examples of AWS's page with its verdicts, and what others recorded on AWS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from localaws.logs.patterns import compile_pattern

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS = (
    "[ERROR 400] BAD REQUEST",
    "[ERROR 401] UNAUTHORIZED REQUEST",
    "[ERROR 419] MISSING ARGUMENTS",
    "[ERROR 420] INVALID ARGUMENTS",
    "[ERROR 500] INTERNAL SERVER ERROR",
    "[INFO] REQUEST FAILED\n",
)
TERMS = [
    ("", "012345"),
    ('" "', "012345"),
    ("ERROR", "01234"),
    ("error", ""),
    ("ERROR ARGUMENTS", "23"),
    ("?UNAUTHORIZED ?ARGUMENTS", "123"),
    ('?"BAD REQUEST" ?INFO', "05"),
    ("?ERROR ?ARGUMENTS REQUEST", "015"),
    ("?ERROR -REQUEST", "234"),
    ('"INTERNAL SERVER ERROR"', "4"),
    ("ERROR -ARGUMENTS", "014"),
    ('-"ERROR 4"', "45"),
    (r"%AUTHORIZED|\[INFO\]%", "15"),
    ("%ARGUMENTS$%", "23"),
    ("%FAILED$%", "5"),
]
REGEXES = [
    ("%^[hc]at%", "hat and", True),
    ("%^[hc]at%", "a hat", False),
    ("%[hc]at$%", "a cat", True),
    ("%colou?r%", "color", True),
    ("%[abcx-z]%", "y", True),
    ("%^a{3,5}$%", "aa", False),
    ("%^a{3,}$%", "aaaaaa", True),
    ("%^a{,2}$%", "a", True),
    ("%gra|ey%", "grey", True),
    ("%^starting|^initializing|^shutting down%", "skipping initializing ...", False),
    ("%^starting|^initializing|^shutting down%", "shutting down", True),
    (r"%\[.\]%", "[@]", True),
    (r"%10\.10\.0\.1%", "10010,051", False),
    ("%10.10.0.1%", "10010,051", True),
    ("%ab+c%", "ac", False),
    (r"%^\D\S\W\w\s$%", "ab-_ ", True),
    (r"%\x28\x3A%", "(:", True),
]
EVENT = """{"eventType": "UpdateTrail", "sourceIPAddress": "111.111.111.111", "arrayKey": ["value", "another value"],
 "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}], "SomeObject": null, "cluster.name": "c",
 "ThisFlag": true, "someInt": 123, "someFloat": 12.0, "negative": -0.5, "quote": "a \\"b\\"", "numberText": "123",
 "user": {"id": 1, "email": "John.Stiles@example.com"}, "users": [{"email": "John.Doe@example.com"}],
 "actions": ["GET", "PUT", "DELETE"], "coordinates": [[0, 1, 2], [4, 5, 6]], "stars": "Ev*ent"}"""
JSON = [
    ('$.eventType = "UpdateTrail"', True),
    ("$.eventType=UpdateTrail", True),
    ("$.eventType != UpdateTrail", False),
    ("$.sourceIPAddress != 123.123.*", True),
    ("$.sourceIPAddress = 111.111.*", True),
    ('$.sourceIPAddress = "*.111"', True),
    ('$.sourceIPAddress = "*.111.*"', True),
    ('$.sourceIPAddress = "*"', True),
    ("$.sourceIPAddress = 111*111", False),  # an asterisk inside is an asterisk
    ("$.stars = Ev*ent", True),
    ('$.arrayKey[0] = "value"', True),
    ('$.arrayKey[2] != "value"', False),
    ('$.arrayKey != "value"', False),
    ("$.objectList[1].id = 2", True),
    ("$.objectList[*].id = 2", True),
    ("$.coordinates[1][2] = 6", True),
    ("$.eventType = %Trail%", True),
    ("$.arrayKey[*] = %val.{2}%", True),
    (r"$.* = %111\.111\.111\.1[0-9]{1,2}%", True),
    (r"$.sourceIPAddress != %^111%", False),
    ("$.['cluster.name'] = \"c\"", True),
    ("$.SomeObject IS NULL", True),
    ("$.missing IS NULL", False),
    ("$.ThisFlag IS TRUE", True),
    ("$.ThisFlag IS FALSE", False),
    ("$.ThisFlag = true", False),
    ("$.missing NOT EXISTS", True),
    ("$.user.name NOT EXISTS", True),
    ("$.SomeObject NOT EXISTS", False),
    ("$.missing != 1", False),
    ("$.user != 1", False),
    ("$.someInt > 122.5", True),
    ("$.someInt >= 123", True),
    ("$.someInt < +123", False),
    ("$.someInt <= 1.23e+2", True),
    ("$.someInt = 123.0", True),
    ('$.someInt = "123"', True),
    ('$.someInt != "123.0"', True),
    ("$.someInt = 1*", True),
    ("$.someFloat = 12", True),
    ('$.someFloat = "12"', False),
    ("$.negative = -5e-1", True),
    ("$.numberText > 1", False),
    ("$.numberText = 123", True),
    (r'$.quote = "a \"b\""', True),
    ('($.user.id = 1) && ($.users[0].email = "John.Doe@example.com")', True),
    ('$.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = nonmatch && $.actions[2] = nonmatch', True),
    ('($.user.email = "John.Stiles@example.com" || $.coordinates[0][1] = nonmatch) && $.actions[2] = nonmatch', False),
    ('($.user.id = 2 && $.users[0].email = "nonmatch") || $.actions[2] = "GET"', False),
]
ACCESS = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534\n'
LINES = (
    "INFO 09/25/2014 12:00:00 GET /service/resource/67 1200\n",
    "INFO 09/25/2014 12:00:01 POST /service/resource/67/part/111 1310\n",
    "WARNING 09/25/2014 12:00:02 Invalid user request\n",
    "ERROR 09/25/2014 12:00:02 Failed to process request\n",
)
ACCESSES = [
    (r"[ip=%127\.0\.0\.[1-9]%, user, username, timestamp, request =*.html*, status_code = 4*, bytes]", True),
    ("[..., request =*.html*, status_code = 4*, bytes]", True),
    ("[..., request =*.html*, status_code = 404 || status_code = 410, bytes]", True),
    ("[..., request =*.html*, (status_code = 400 || status_code = 410), bytes]", False),
    ("[ip, user, ..., status_code >= 400 && status_code < 404, bytes]", False),
    ("[ip, ..., bytes > 1000]", True),
    ("[..., status_code = 404.0,]", True),
    ('[,,, timestamp = "10/Oct/2000:13:25:15 -0700", ...]', True),
    ("[a, b, c, d, e, f, g, h]", False),
    ("[a, b, c, d, e, f, g, h, ...]", False),
    ("[]", True),
]
WORDS = [
    ("[w1=ERROR, w2]", "3"),
    ("[w1=ERROR]", ""),  # the last word is the rest of the line
    ("[w1=ERROR || w1=WARNING, w2]", "23"),
    ("[w1!=ERROR && w1!=WARNING, w2]", "01"),
    ("[logLevel, date, time, method, url=%/service/resource/[0-9]+$%, response_time]", "0"),
    ("[logLevel, date, time, method, url=%/service/resource/[0-9]+/part/[0-9]+$%, response_time]", "1"),
    ("[level, date, time, text = *request]", "23"),
]
REFUSED = [
    ("ERROR: 1", "Invalid character(s) in term ':'"),
    ("?Status: timeout", "Invalid character(s) in term ':'"),
    ("ERR*", "Invalid character(s) in term '*'"),
    ("[ERROR", "Invalid character(s) in term '['"),
    ("ERROR && WARN", "Invalid character(s) in term '&'"),
    ("ERROR - Exiting", "Invalid character(s) in term '-'"),
    ('"ERROR', "Invalid character(s) in term '\"'"),
    ("%something!%", "Invalid filter pattern"),
    ("%(a|b)%", "Invalid filter pattern"),
    (r"%\(%", "Invalid filter pattern"),
    ("%é%", "Invalid filter pattern"),
    ("%[abc%", "Invalid filter pattern"),
    ("%a{3,%", "Invalid filter pattern"),
    ("%*a%", "Invalid filter pattern"),
    ("%%", "Invalid filter pattern"),
    ('{ $."sc-status" = 5* }', "Invalid character(s) in term '$.\"sc-status\"'"),
    ('{ $.a > "1" }', "Invalid character(s) in term '1'"),
    ("{ $.a > one }", "Invalid character(s) in term 'one'"),
    ("{ $.a EXISTS }", "Invalid filter pattern"),
    ("{ $.a IS NOT NULL }", "Invalid filter pattern"),
    ("{ $.a IS MAYBE }", "Invalid filter pattern"),
    ("{ $.a == 1 }", "Invalid filter pattern"),
    ("{ $.a = }", "Invalid filter pattern"),
    ("{ $.a }", "Invalid filter pattern"),
    ("{ a = 1 }", "Invalid filter pattern"),
    ("{}", "Invalid filter pattern"),
    ("{ $.a = 1 && }", "Invalid filter pattern"),
    ("{ ($.a = 1 }", "Invalid filter pattern"),
    ("{ $.a = 1) }", "Invalid filter pattern"),
    ("{ $.a[*].* = 1 }", "Invalid filter pattern"),
    ("{ $.a[*] = 1 || $.b[*] = 1 || $.c[*] = 1 || $.d[*] = 1 }", "Invalid filter pattern"),
    ("{ $.a = %a% || $.a = %b% || $.a = %c% }", "Invalid filter pattern"),
    ("{ $.a[-1] = 1 }", "Invalid character(s) in term '[-1]'"),
    ("{ " + "(" * 1000 + "}", "Invalid filter pattern"),
    ("a" * 1025, "Invalid filter pattern"),
    ("[..., a, ...]", "Invalid filter pattern"),
    ("[a = ]", "Invalid filter pattern"),
    ("[a = 1 ||]", "Invalid filter pattern"),
    ("[a, b = x || c = y]", "Invalid filter pattern"),
    ("[1a = 1]", "Invalid filter pattern"),
]


def found(pattern: str, messages: tuple[str, ...]) -> str:
    """Return the numbers of the messages that match."""
    matches = compile_pattern(pattern)
    return "".join(str(number) for number, message in enumerate(messages) if matches(message))


@pytest.mark.parametrize(("pattern", "numbers"), TERMS)
def test_terms_match_as_the_page_says(pattern: str, numbers: str) -> None:
    assert found(pattern, ERRORS) == numbers


@pytest.mark.parametrize(("pattern", "message", "verdict"), REGEXES)
def test_a_regular_expression_matches_as_the_page_says(pattern: str, message: str, verdict: bool) -> None:
    assert bool(compile_pattern(pattern)(message)) is verdict


@pytest.mark.parametrize(("condition", "verdict"), JSON)
def test_a_json_condition_matches_as_the_page_says(condition: str, verdict: bool) -> None:
    assert compile_pattern(f"{{ {condition} }}")(EVENT) is verdict


@pytest.mark.parametrize("message", ["$.a", '[{"a": 1}]', '{"a": ', '{"b": NaN}', '{"b": ' + "[" * 100_000, ""])
def test_a_json_condition_matches_no_other_message(message: str) -> None:
    assert not compile_pattern("{ $.a NOT EXISTS }")(message)


@pytest.mark.parametrize(("pattern", "verdict"), ACCESSES)
def test_conditions_on_words_match_as_the_page_says(pattern: str, verdict: bool) -> None:
    assert compile_pattern(pattern)(ACCESS) is verdict


@pytest.mark.parametrize(("pattern", "numbers"), WORDS)
def test_words_match_in_their_order(pattern: str, numbers: str) -> None:
    assert found(pattern, LINES) == numbers


@pytest.mark.parametrize(("pattern", "message"), REFUSED)
def test_an_invalid_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is compared
        compile_pattern(pattern)
    assert str(refused.value) == message


@pytest.fixture(scope="module")
def logs(client: Callable[[str], Any]) -> Any:
    """A client of CloudWatch Logs, where the group "patterns" has the events ERRORS and EVENT."""
    logs = client("logs")
    logs.create_log_group(logGroupName="patterns")
    logs.create_log_stream(logGroupName="patterns", logStreamName="one")
    events = [{"timestamp": int(time.time() * 1000), "message": message} for message in (*ERRORS, EVENT)]
    logs.put_log_events(logGroupName="patterns", logStreamName="one", logEvents=events)
    return logs


@pytest.mark.parametrize(
    ("pattern", "messages"),
    [
        ("ERROR -REQUEST", ERRORS[2:5]),
        ("%^.INFO%", ERRORS[5:]),
        ("{ $.someInt > 100 }", (EVENT,)),
        ("[..., what = REQUEST]", ERRORS[:2]),
    ],
)
def test_filter_log_events_returns_the_events_that_match(logs: Any, pattern: str, messages: tuple[str, ...]) -> None:
    answer = logs.filter_log_events(logGroupName="patterns", filterPattern=pattern)
    assert tuple(event["message"] for event in answer["events"]) == messages


@pytest.mark.parametrize("pattern", ["ERROR: 1", "{ $.a EXISTS }", "x" * 1025])
def test_filter_log_events_refuses_an_invalid_pattern(logs: Any, pattern: str) -> None:
    with pytest.raises(logs.exceptions.InvalidParameterException, match="Invalid"):
        logs.filter_log_events(logGroupName="patterns", filterPattern=pattern)
