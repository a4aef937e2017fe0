"""Function names and ARNs, in each form that the Lambda API accepts."""

from __future__ import annotations

import re
from typing import NamedTuple

from moto.utilities.utils import get_partition

_PATTERN = re.compile(
    r"(?:(?:arn:[\w-]+:lambda:)?(?P<region>[a-z]+-[a-z-]+-\d):(?=\d{12}:))?(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[\w-]+)(?::(?P<qualifier>[\w$-]+))?"
)


class FunctionName(NamedTuple):
    """The parts of a name or an ARN; "" for a part that it does not have."""

    region: str = ""
    account: str = ""
    name: str = ""
    qualifier: str = ""

    def arn(self, region: str, account: str) -> str:
        """The ARN, with the qualifier; in `region` and `account` unless the name says where."""
        region = self.region or region
        arn = f"arn:{get_partition(region)}:lambda:{region}:{self.account or account}:function:{self.name}"
        return f"{arn}:{self.qualifier}" if self.qualifier else arn


def parse(name_or_arn: str, qualifier: str | None = None) -> FunctionName:
    """Parse a name, an ARN, or a part of one ("ACCOUNT:function:NAME"); all parts are "" if it is none of these."""
    match = _PATTERN.fullmatch(name_or_arn)
    if not match:
        return FunctionName()
    return FunctionName(
        match["region"] or "", match["account"] or "", match["name"], qualifier or match["qualifier"] or ""
    )
