"""The Deployment that every step receives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from .resources.change import UserError
from .settings import Settings


@dataclass(frozen=True)
class Deployment:
    """The settings, a function from a service's name to its boto3 client, and the project's folder.

    `dry_run`: the clients answer write calls themselves. `adopt`: take over existing resources that are not ours.
    """

    settings: Settings
    client: Callable[..., Any]
    root: Path
    dry_run: bool = False
    adopt: bool = False

    @cached_property
    def caller_identity(self) -> dict[str, str]:
        """The response of GetCallerIdentity. Raises UserError if AWS_ACCOUNT_ID names another account."""
        caller: dict[str, str] = self.client("sts").get_caller_identity()
        if self.settings.target == "aws" and self.settings.aws_account_id not in ("", caller["Account"]):
            raise UserError(
                f"AWS_ACCOUNT_ID is {self.settings.aws_account_id}, but the credentials belong to account "
                f"{caller['Account']} ({caller['Arn']}). Nothing was changed. Choose another AWS_PROFILE, or correct "
                "AWS_ACCOUNT_ID."
            )
        return caller

    def as_dry_run(self) -> Deployment:
        """The same deployment with clients that write nothing."""
        return replace(self, client=partial(self.client, dry_run=True), dry_run=True)
