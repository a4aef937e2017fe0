"""Filter patterns: which records match one, and which patterns are invalid.

Lambda developer guide, "Using event filtering with a DynamoDB event source".
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.pipe import Pipe, build, until

if TYPE_CHECKING:
    from collections.abc import Callable

ITEM: dict[str, Any] = {
    "text": {"S": "Hello World"},
    "empty": {"S": ""},
    "number": {"N": "5"},
    "flag": {"BOOL": True},
    "nothing": {"NULL": True},
    "tags": {"SS": ["red", "green"]},
    "map": {"M": {"inner": {"S": "deep"}}},
    "list": {"L": [{"S": "x"}, {"S": "y"}]},
    "empty list": {"L": []},
    "dotted.name": {"S": "joined"},
    "path": {"S": "/users/a*b"},
    "address": {"S": "10.0.0.255"},
    "address 6": {"S": "2001:db8:1234:1aff::1"},
    "pairs": {"L": [{"M": {"k": {"S": "1"}, "v": {"S": "a"}}}, {"M": {"k": {"S": "2"}, "v": {"S": "b"}}}]},
}


@pytest.fixture(scope="module")
def mapped(client: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipe, str]:
    """One pipe for all cases. Each case sets its own filters."""
    one = build(client, tmp_path_factory.mktemp("filters"))
    return one, one.map()["UUID"]


def text(rule: Any) -> dict[str, Any]:
    """A pattern for the attribute `text`."""
    return {"dynamodb": {"NewImage": {"text": {"S": [rule]}}}}


def image(**attributes: Any) -> dict[str, Any]:
    return {"dynamodb": {"NewImage": attributes}}


def passes(mapped: tuple[Pipe, str], *patterns: dict[str, Any]) -> bool:
    """Whether a record of ITEM passes one of the patterns. A second item always passes: then the first is done."""
    one, mapping = mapped
    unique = uuid.uuid4().hex[:12]
    item, last = f"item-{unique}", f"last-{unique}"
    filters = [*patterns, {"dynamodb": {"Keys": {"name": {"S": [last]}}}}]
    one.client("lambda").update_event_source_mapping(
        UUID=mapping, FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)} for pattern in filters]}
    )
    until(lambda: one.mapping(mapping)["State"] == "Enabled")
    one.put(item, **ITEM)
    one.put(last)
    return any(item in batch for batch in one.wait_for(last))


@pytest.mark.parametrize(
    "pattern",
    [
        text("Hello World"),
        text({"prefix": "Hello"}),
        text({"prefix": {"equals-ignore-case": "hELLO"}}),
        text({"suffix": "World"}),
        text({"suffix": {"equals-ignore-case": "wORLD"}}),
        text({"equals-ignore-case": "HELLO world"}),
        text({"wildcard": "H*o W*d"}),
        text({"anything-but": "other"}),
        text({"anything-but": ["other", "another"]}),
        text({"anything-but": {"prefix": "World"}}),
        text({"anything-but": {"prefix": ["World", "x"]}}),
        text({"anything-but": {"suffix": "Hello"}}),
        text({"anything-but": {"equals-ignore-case": "hello"}}),
        text({"anything-but": {"wildcard": "*x*"}}),
        text({"exists": True}),
        image(absent=[{"exists": False}]),
        image(absent={"S": [{"exists": False}]}),
        image(empty={"S": [""]}),
        image(flag={"BOOL": [True]}),
        image(nothing={"NULL": [True]}),
        image(number={"N": ["5"]}),
        image(tags={"SS": ["green"]}),
        image(map={"M": {"inner": {"S": ["deep"]}}}),
        image(list={"L": {"S": ["y"]}}),
        {"eventName": ["INSERT"]},
        {"eventSource": ["aws:dynamodb"]},
        {"dynamodb": {"SizeBytes": [{"numeric": [">", 0, "<=", 10000]}]}},
        {"dynamodb": {"SizeBytes": [{"anything-but": 1}]}},
        {"$or": [{"eventName": ["REMOVE"]}, text("Hello World")]},
        {"eventName": ["REMOVE", "INSERT"]},
        image(address={"S": [{"cidr": "10.0.0.0/24"}]}),
        image(**{"address 6": {"S": [{"cidr": "2001:db8:1234:1a00::/56"}]}}),
        {"dynamodb.NewImage.text.S": ["Hello World"]},
        {"dynamodb": {"NewImage.text": {"S": ["Hello World"]}}},
        image(dotted={"name": {"S": ["joined"]}}),
        image(**{"empty list": {"L": [{"exists": False}]}}),
        image(list={"L": {"S": [{"exists": True}]}}),
        image(pairs={"L": {"M": {"k": {"S": ["2"]}, "v": {"S": ["b"]}}}}),
        image(path={"S": [{"wildcard": "/*/a\\*b"}]}),
        text({"anything-but": {"wildcard": ""}}),
        text({"wildcard": "H*o*W*r*d"}),
        {"dynamodb": {"SizeBytes": [{"anything-but": {"prefix": "1"}}]}},
        {"dynamodb": {"$or": [{"SizeBytes": [0]}, {"Keys": {"name": {"S": [{"prefix": "item"}]}}}]}},
    ],
    ids=json.dumps,
)
def test_matching_record_passes(mapped: tuple[Pipe, str], pattern: dict[str, Any]) -> None:
    assert passes(mapped, pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        text("Hello"),
        text({"prefix": "hello"}),
        text({"suffix": "world"}),
        text({"wildcard": "H*x"}),
        text({"anything-but": "Hello World"}),
        text({"anything-but": ["other", "Hello World"]}),
        text({"anything-but": {"prefix": "Hello"}}),
        text({"anything-but": {"suffix": ["World"]}}),
        text({"anything-but": {"equals-ignore-case": ["HELLO WORLD"]}}),
        text({"exists": False}),
        text(None),
        image(absent={"S": [{"exists": True}]}),
        image(absent={"S": [{"anything-but": "x"}]}),
        image(flag={"BOOL": [1]}),
        image(number={"N": [5]}),
        image(number={"N": [{"numeric": ["=", 5]}]}),
        image(tags={"SS": ["blue"]}),
        {"eventName": ["REMOVE"]},
        {"eventName": ["INSERT"], "eventSource": ["aws:sqs"]},
        {"dynamodb": {"SizeBytes": [{"numeric": ["<", 1]}]}},
        {"$or": [{"eventName": ["REMOVE"]}, {"eventName": ["MODIFY"]}]},
        image(address={"S": [{"cidr": "10.0.1.0/24"}]}),
        image(address={"S": [{"cidr": "::/1"}]}),
        text({"cidr": "0.0.0.0/0"}),
        {"dynamodb": {"SizeBytes": [{"cidr": "0.0.0.0/0"}]}},
        {"dynamodb.NewImage": {"NewImage": {"text": {"S": ["Hello World"]}}}},
        image(**{"empty list": {"L": [{"exists": True}]}}),
        image(**{"empty list": {"L": [None]}}),
        image(pairs={"L": {"M": {"k": {"S": ["1"]}, "v": {"S": ["b"]}}}}),
        image(path={"S": [{"wildcard": "/users/\\*"}]}),
    ],
    ids=json.dumps,
)
def test_other_record_is_filtered_out(mapped: tuple[Pipe, str], pattern: dict[str, Any]) -> None:
    assert not passes(mapped, pattern)


def test_exists_false_matches_a_map(mapped: tuple[Pipe, str]) -> None:
    """Recorded on AWS: `exists` works on leaves only, and an attribute is a map of its type and value."""
    assert passes(mapped, image(text=[{"exists": False}]))


def test_one_matching_filter_is_enough(mapped: tuple[Pipe, str]) -> None:
    assert passes(mapped, {"eventName": ["REMOVE"]}, {"eventName": ["INSERT"]})


def test_removed_filters_let_everything_through(mapped: tuple[Pipe, str]) -> None:
    one, mapping = mapped
    passes(mapped, {"eventName": ["REMOVE"]})
    one.client("lambda").update_event_source_mapping(UUID=mapping, FilterCriteria={})
    name = uuid.uuid4().hex
    one.put(name)
    assert one.wait_for(name)


def test_nested_alternatives_are_limited(mapped: tuple[Pipe, str]) -> None:
    """EventBridge user guide: a rule has at most 1,000 combinations."""
    pattern = "{" + ", ".join(f'"a{n}": {{"$or": [{{"x": [1]}}, {{"y": [1]}}]}}' for n in range(10)) + "}"
    one, mapping = mapped
    with pytest.raises(ClientError, match=r"Invalid filter pattern definition\."):
        one.client("lambda").update_event_source_mapping(
            UUID=mapping, FilterCriteria={"Filters": [{"Pattern": pattern}]}
        )


@pytest.mark.parametrize(
    "pattern",
    [
        "single-string",
        '[{"eventName": ["INSERT"=123}]',
        "[]",
        "{}",
        '{"eventName": "INSERT"}',
        '{"eventName": []}',
        '{"eventName": [["INSERT"]]}',
        '{"eventName": [{"prefix": 1}]}',
        '{"eventName": [{"unknown": "x"}]}',
        '{"eventName": [{"exists": "yes"}]}',
        '{"eventName": [{"prefix": "x", "suffix": "y"}]}',
        '{"eventName": [{"numeric": [">"]}]}',
        '{"eventName": [{"numeric": ["<", 1, ">", 5]}]}',
        '{"eventName": [{"numeric": ["~", 1]}]}',
        '{"eventName": [{"anything-but": []}]}',
        '{"eventName": [{"anything-but": ["x", 1]}]}',
        '{"eventName": [{"wildcard": "a**b"}]}',
        '{"$or": [{"eventName": ["INSERT"]}]}',
        '{"eventName": [{"anything-but": {"prefix": {"equals-ignore-case": "x"}}}]}',
        '{"eventName": [{"anything-but": {"suffix": ""}}]}',
        '{"eventName": [{"anything-but": {"wildcard": ["x", 1]}}]}',
        '{"eventName": [{"anything-but": null}]}',
        '{"eventName": [{"wildcard": "*:*:*:*:*:event-bus/*"}]}',
        '{"eventName": [{"wildcard": "a\\\\b"}]}',
        '{"eventName": [{"cidr": "10.0.0.0"}]}',
        '{"eventName": [{"cidr": "10.0.0.0/x"}]}',
        '{"eventName": [{"cidr": "10.0.0.0/32"}]}',
        '{"eventName": [{"cidr": "xx.11.xx/8"}]}',
        '{"eventName": [{"cidr": ["10.0.0.0/8"]}]}',
        '{"eventName": [{"EXISTS": true}]}',
        '{"eventName": [NaN]}',
    ],
)
def test_invalid_pattern_is_refused(mapped: tuple[Pipe, str], pattern: str) -> None:
    """Recorded on AWS: 400, "Invalid filter pattern definition."."""
    one, mapping = mapped
    with pytest.raises(ClientError, match=r"InvalidParameterValueException.*: Invalid filter pattern definition\."):
        one.client("lambda").update_event_source_mapping(
            UUID=mapping, FilterCriteria={"Filters": [{"Pattern": pattern}]}
        )
