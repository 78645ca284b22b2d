"""An Azure Key Vault in memory, on loopback: as much of its documented REST API as we use.

A fake of our own, made from Microsoft's reference of the API (version 7.x): its challenge, its
errors, its pages of versions. Beside it stands the endpoint that gives a managed identity's token
in an App Service. No request ever leaves this machine.
"""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from tests.stack.loopback import Asked, LoopbackServer, Reply
from tests.stack.tls import lead_to_this_machine, own_certificate

HOST = "bank.vault.localhost"
IDENTITY_HEADER = "identity-header-4c1d"
IDENTITY_PATH = "/msi/token"
PAGE_SIZE = 2  # the service's own is 25: a test is to see more than one page
FORBIDDEN = {"code": "Forbidden", "message": "Caller is not authorized to perform action"}


@dataclass
class Version:
    """One version of a secret; the time it was made is also what tells which is the newest."""

    id: str
    value: str
    created: int
    enabled: bool = True


@dataclass
class KeyVaultInMemory:
    """Answers as the service does; a test changes what it holds at will."""

    http: LoopbackServer
    identity: LoopbackServer
    ca_file: Path
    entry: str = "bank"
    versions: list[Version] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)  # of "get", "list", "set"
    is_deleted: bool = False
    faults: list[Reply] = field(default_factory=list)  # answered first
    tokens: set[str] = field(default_factory=set)
    trusts_nobody: bool = False
    gives_no_identity: bool = False
    resource: str = ""
    _one_at_a_time: Lock = field(default_factory=Lock)

    @classmethod
    def made_in(cls, folder: Path, entry: str = "bank") -> Self:
        http, (ca_file, pem) = LoopbackServer(), own_certificate(folder, HOST)
        http.speak_tls(pem, HOST)
        resource = f"https://vault.localhost:{urlsplit(http.url).port}"
        return cls(http, LoopbackServer(), ca_file, entry, resource=resource)

    def __enter__(self) -> Self:
        self.http.__enter__()
        self.identity.__enter__()
        self.identity.reply(IDENTITY_PATH, self._token)
        self.serve(self.path, self._set)
        self.serve(f"{self.path}/", self._get)
        self.serve(f"{self.path}/versions", self._list)
        return self

    def __exit__(self, *_: object) -> None:
        self.http.stop()
        self.identity.stop()

    @property
    def path(self) -> str:
        return f"/secrets/{self.entry}"

    def tell_the_platforms(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let this process run where App Service gives it a managed identity."""
        lead_to_this_machine(monkeypatch, HOST)
        for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "prod")
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{self.identity.url}{IDENTITY_PATH}")
        monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)

    def put(self, value: str) -> None:
        """Make a version, as somebody else does at the portal."""
        created = 1_750_000_000 + len(self.versions)
        self.versions.append(Version(secrets.token_hex(16), value, created))

    def serve(self, path: str, answer: Any) -> None:
        def answering(asked: Asked) -> Reply:
            with self._one_at_a_time:
                token = asked.headers.get("authorization", "").removeprefix("Bearer ")
                if self.trusts_nobody or token not in self.tokens:
                    return self._challenge()
                reply: Reply = self.faults.pop(0) if self.faults else answer(asked)
            return reply

        self.http.reply(path, answering)

    def _challenge(self) -> Reply:
        authority = "https://login.microsoftonline.com/5f1c0a9b-e2d3-4f60-8a4e-000000000000"
        header = f'Bearer authorization="{authority}", resource="{self.resource}"'
        error = {"code": "Unauthorized", "message": "AKV10000: Request is missing a token"}
        return Reply(401, {"error": error}, headers={"WWW-Authenticate": header})

    def _token(self, asked: Asked) -> Reply:
        if self.gives_no_identity or asked.headers.get("x-identity-header") != IDENTITY_HEADER:
            return Reply(401, {"statusCode": 401, "message": "no such identity"})
        token = secrets.token_urlsafe(16)
        if asked.query.get("resource") == self.resource:
            self.tokens.add(token)
        document = {"access_token": token, "expires_on": "4102444800", "token_type": "Bearer"}
        return Reply(200, document | {"resource": asked.query.get("resource")})

    def _set(self, asked: Asked) -> Reply:
        if "set" in self.forbidden:
            return Reply(403, {"error": FORBIDDEN})
        if self.is_deleted:
            inner = {"innererror": {"code": "ObjectIsDeletedButRecoverable"}}
            return Reply(409, {"error": {"code": "Conflict", "message": "is deleted"} | inner})
        self.put(json.loads(asked.body)["value"])
        newest = self.versions[-1]
        return Reply(200, self._properties(newest) | {"value": newest.value})

    def _get(self, _: Asked) -> Reply:
        if "get" in self.forbidden:
            return Reply(403, {"error": FORBIDDEN})
        if self.is_deleted or not self.versions:
            return not_found(self.entry)
        newest = self.versions[-1]
        if not newest.enabled:
            inner = {"innererror": {"code": "SecretDisabled"}}
            return Reply(403, {"error": FORBIDDEN | inner})
        return Reply(200, self._properties(newest) | {"value": newest.value})

    def _list(self, asked: Asked) -> Reply:
        if "list" in self.forbidden:
            return Reply(403, {"error": FORBIDDEN})
        if self.is_deleted:
            return not_found(self.entry)
        begin = int(asked.query.get("$skiptoken", 0))
        end = begin + PAGE_SIZE
        shown = sorted(self.versions, key=lambda version: version.id)  # in no order of time
        more = f"{self.http.url}{self.path}/versions?api-version=7.4&$skiptoken={end}"
        page = [self._properties(version) for version in shown[begin:end]]
        return Reply(200, {"value": page, "nextLink": more if end < len(shown) else None})

    def _properties(self, version: Version) -> dict[str, Any]:
        times = {"created": version.created, "updated": version.created}
        attributes = {"enabled": version.enabled, "recoveryLevel": "Recoverable"} | times
        return {"id": f"{self.http.url}{self.path}/{version.id}", "attributes": attributes}


def not_found(entry: str) -> Reply:
    message = f"A secret with (name/id) {entry} was not found in this key vault."
    return Reply(404, {"error": {"code": "SecretNotFound", "message": message}})
