"""IAM's eventual consistency: reads, and the services that ask IAM, see a change of a role after a delay.

IAM user guide, "Changes that I make are not always immediately visible".
"""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from moto.iam.models import iam_backends

from localaws import delays
from localaws.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.iam.models import IAMBackend, Role
    from moto.iam.responses import IamResponse

_history: delays.History[Role] = delays.History()


def find_role(account: str, partition: str, name: str, event: str) -> Role | None:
    """Return a role as those see it who learn of changes after the delay of `event`."""
    return _history.seen(f"{account} {partition}", event, partial(_roles, account, partition)).get(name)


def handle_role(call_action: Callable[..., Any], self: IamResponse) -> Any:
    """Wrap the handling of an IAM call: refuse it as long as an earlier change of its role is not visible."""
    name, action = str(self._get_param("RoleName") or ""), self._get_action()
    if not name:
        return call_action(self)
    account = self.current_account
    seen = find_role(account, self.partition, name, "role-visible")
    if action == "CreateRole":
        if seen:
            raise AwsError("EntityAlreadyExists", f"Role with name {name} already exists.", 409)
    elif not seen:
        raise AwsError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
    elif action == "DeleteRole" and (seen.policies or seen.managed_policies):
        what = "delete policies" if seen.policies else "detach all policies"
        raise AwsError("DeleteConflict", f"Cannot delete entity, must {what} first.", 409)
    response = call_action(self)
    if not _is_read(action):
        _history.record(f"{account} {self.partition}", partial(_snapshots, account, self.partition))
    return response


def backend(self: IamResponse) -> IAMBackend:
    """The backend of an IAM call, with the roles as a read sees them, or as they are."""
    live = iam_backends[self.current_account][self.partition]
    if not delays.are_on() or not _is_read(self._get_action()):
        return live
    replica = copy.copy(live)
    seen = _history.seen(f"{self.current_account} {self.partition}", "role-visible", dict)
    replica.roles = {role.id: role for role in seen.values()}
    return replica


def _is_read(action: str) -> bool:
    return action.startswith(("Get", "List"))


def _roles(account: str, partition: str) -> dict[str, Role]:
    return {role.name: role for role in list(iam_backends[account][partition].get_roles())}


def _snapshots(account: str, partition: str) -> dict[str, Role]:
    roles = {name: copy.copy(role) for name, role in _roles(account, partition).items()}
    for role in roles.values():
        role.policies, role.managed_policies = dict(role.policies), dict(role.managed_policies)
    return roles
