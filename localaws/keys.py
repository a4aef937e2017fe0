"""KMS keys: those with a given ID (the tag `_custom_id_` of CreateKey, as in other services), and their state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.kms.models import kms_backends

if TYPE_CHECKING:
    from collections.abc import Callable

    from moto.kms.models import Key, KmsBackend

CUSTOM_ID_TAG = "_custom_id_"


def create(call: Callable[..., Key], self: KmsBackend, *arguments: Any, **options: Any) -> Key:
    """Wrap CreateKey: give the key the ID in its tag."""
    key = call(self, *arguments, **options)
    if custom := self.tagger.get_tag_dict_for_resource(key.id).get(CUSTOM_ID_TAG):
        self.keys[custom] = self.keys.pop(key.id)
        key.id, key.arn = custom, f"{key.arn.rpartition('/')[0]}/{custom}"
    return key


def state(arn: str) -> str:
    """Return the state of the key, such as "Enabled" or "Disabled"; "" if it does not exist. KMS API: KeyMetadata."""
    _, _, _, region, account, resource = arn.split(":", 5)
    key = kms_backends[account][region].keys.get(resource.partition("/")[2])
    return str(key.key_state) if key else ""
