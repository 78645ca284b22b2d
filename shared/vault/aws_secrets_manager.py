"""A vault that is AWS Secrets Manager: an entry is one secret, a JSON object of its fields.

Needs the extra `aws`. The version that readers get bears the label AWSCURRENT. A write puts a
version beside it first, and then moves the label from the version that it replaces: the service
refuses that if the label is elsewhere by now, and so it is a check-and-set.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from shared.vault.aws_client import AwsClient
from shared.vault.errors import EntryNotFoundError, VaultConflictError, VaultError
from shared.vault.fields import fields_as_text, fields_in
from shared.vault.names import require_entry_name, require_field_names
from shared.vault.versions import EntryVersion

LATE_WRITE_SECONDS = 30.0  # longer than one request and the service's own delays take
CURRENT = "AWSCURRENT"
WRITTEN = "WRITTEN"
"""The label of a version that is not current yet. One for all writes, as labels are limited."""

NOT_FOUND = "ResourceNotFoundException"
EXISTS = "ResourceExistsException"
DELETED = "InvalidRequestException"  # what a secret answers that waits for its deletion

# A version of ours: a UUID of version 8 (RFC 9562 §5.8) that begins with the version's number.
_OURS = re.compile(r"([0-9a-f]{8})-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Described:
    """What the service says of a secret without its value."""

    exists: bool
    current: str | None = None
    is_deleted: bool = False

    @property
    def number(self) -> int:
        """Return the number of the current version; 0 where there is none."""
        return 0 if self.current is None else number_of(self.current)


class AwsSecretsManagerVault:
    """Reads and writes the secrets whose names are ``prefix`` and an entry's name.

    Safe to share between threads. Nothing is asked before the first read or write.
    """

    late_write_seconds = LATE_WRITE_SECONDS

    def __init__(self, aws: AwsClient, prefix: str = "") -> None:
        self._aws, self._prefix = aws, prefix

    def __repr__(self) -> str:
        return f"AwsSecretsManagerVault({self._aws.name!r}, prefix={self._prefix!r})"

    def read(self, entry: str) -> dict[str, str]:
        """Return the fields of the current version.

        Raises EntryNotFoundError where there is none, or it waits for its deletion.
        """
        name = self._name(entry)
        code, answer = self._aws.ask(
            lambda client: client.get_secret_value(SecretId=name, VersionStage=CURRENT),
            f"read {name}",
        )
        if code in (NOT_FOUND, DELETED):
            raise EntryNotFoundError(f"no entry {name} in the vault {self._aws.name}")
        if code:
            raise self._aws.unusable(f"{code} to a read of {name}")
        try:
            return fields_in(answer.get("SecretString"))
        except ValueError as error:
            raise self._aws.unusable(f"{error} for {name}") from None

    def version(self, entry: str) -> EntryVersion:
        """Return the current version; number 0 where the vault holds nothing of ``entry``."""
        described = self._describe(self._name(entry))
        is_readable = described.current is not None and not described.is_deleted
        return EntryVersion(described.number, is_readable)

    def write(
        self, entry: str, fields: Mapping[str, str], expected_version: int | None = None
    ) -> int:
        """Make a version that holds ``fields`` the current one.

        Whoever replaced the same version at the same time, one of the two gets a
        VaultConflictError, with or without ``expected_version``.
        """
        name = self._name(entry)
        require_field_names(fields)
        before = self._describe(name)
        if expected_version not in (None, before.number):
            raise self._conflict(name, before.number, expected_version)
        if before.is_deleted:
            raise VaultError(f"{name} waits for its deletion: restore it before it is written")
        new, text = version_id(before.number + 1), fields_as_text(fields)
        if not before.exists:
            self._create(name, new, text)
        else:
            self._put(name, new, text)
            self._make_current(name, new, before)
        return before.number + 1

    def _create(self, name: str, new: str, text: str) -> None:
        code, answer = self._aws.ask(
            lambda client: client.create_secret(
                Name=name, ClientRequestToken=new, SecretString=text
            ),
            f"create {name}",
        )
        if code == EXISTS:
            raise self._conflict(name, self._describe(name).number, 0)
        if answer.get("VersionId") != new:
            raise self._aws.unusable(f"{code or 'another version'} to the creation of {name}")

    def _put(self, name: str, new: str, text: str) -> None:
        """Store a version; a request that is repeated makes no second one, thanks to its token."""
        code, answer = self._aws.ask(
            lambda client: client.put_secret_value(
                SecretId=name, ClientRequestToken=new, SecretString=text, VersionStages=[WRITTEN]
            ),
            f"write {name}",
        )
        if answer.get("VersionId") != new:
            raise self._aws.unusable(f"{code or 'another version'} to a write of {name}")

    def _make_current(self, name: str, new: str, before: Described) -> None:
        """Move the label; a first version has it already.

        A refusal may be that of a repeated request whose first answer was lost: so we look.
        """
        moving = {"SecretId": name, "VersionStage": CURRENT, "MoveToVersionId": new}
        if before.current is not None:
            moving["RemoveFromVersionId"] = before.current
        code, answer = self._aws.ask(
            lambda client: client.update_secret_version_stage(**moving),
            f"label a version of {name}",
        )
        if "ARN" in answer:
            return
        now = self._describe(name)
        if now.current == before.current:
            raise self._aws.unusable(f"{code or 'no secret'} to the labelling of {name}")
        if now.current != new:
            raise self._conflict(name, now.number, before.number)

    def _describe(self, name: str) -> Described:
        code, answer = self._aws.ask(
            lambda client: client.describe_secret(SecretId=name), f"describe {name}"
        )
        if code == NOT_FOUND:
            return Described(exists=False)
        if "ARN" not in answer:  # boto3 takes what is no JSON for an empty answer
            raise self._aws.unusable(f"{code or 'no secret'} to a description of {name}")
        labels: dict[str, Any] = answer.get("VersionIdsToStages") or {}
        current = next((one for one, its in labels.items() if CURRENT in its), None)
        return Described(True, current, is_deleted=answer.get("DeletedDate") is not None)

    def _conflict(self, name: str, number: int, expected: int | None) -> VaultConflictError:
        return VaultConflictError(
            f"{name} in the vault {self._aws.name} is at version {number}, not {expected}: "
            "somebody else wrote it meanwhile"
        )

    def _name(self, entry: str) -> str:
        require_entry_name(entry)
        return f"{self._prefix}{entry}"


def version_id(number: int) -> str:
    """Return an id for version ``number``, which no other version has."""
    random = secrets.token_hex(12)
    variant = secrets.choice("89ab")
    return f"{number:08x}-{random[:4]}-8{random[4:7]}-{variant}{random[7:10]}-{random[10:22]}"


def number_of(version: str) -> int:
    """Return the number in an id of ours; for a version of somebody else one made from its id.

    So it is known that they wrote, and numbers do not begin again. It has 30 bits, as databases
    keep it and the versions after it count on from there.
    """
    ours = _OURS.fullmatch(version)
    if ours:
        return int(ours[1], 16)
    return int.from_bytes(sha256(version.encode()).digest()[:4]) >> 2
