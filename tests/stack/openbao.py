"""An OpenBao server in memory, on loopback: as much of its API as the vault provider uses."""

import json
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Self

from tests.stack.loopback import Asked, LoopbackServer, Reply

ROLE_ID = "role-5f1c"
SECRET_ID = "s3cret-id-77ab"
LOGIN = "/v1/auth/approle/login"
RENEWAL = "/v1/auth/token/renew-self"
DENIED = Reply(403, {"errors": ["permission denied"]})
SEALED = Reply(503, {"errors": ["Vault is sealed"]})


@dataclass
class OpenBaoInMemory:
    """Answers as the server itself does (2.x); a test changes what it holds at will."""

    http: LoopbackServer
    entry: str = "bank"
    lifetime: int = 1200
    renewed_lifetime: int = 1200
    renewable: bool = True
    sealed: bool = False
    versions: list[dict[str, Any] | None] = field(default_factory=list)  # None: deleted
    tokens: set[str] = field(default_factory=set)
    deletion_time: str = "2025-01-02T00:00:00.123456789Z"
    destroyed: bool = False
    policy_allows: bool = True
    logins: int = 0
    _one_at_a_time: Lock = field(default_factory=Lock)

    def __enter__(self) -> Self:
        self.http.__enter__()
        self.http.reply(LOGIN, self._unless_sealed(self._log_in))
        self.http.reply(RENEWAL, self._unless_sealed(self._renew))
        self.http.reply(self.path, self._unless_sealed(self._data))
        self.http.reply(self.versions_path, self._unless_sealed(self._all_versions))
        return self

    def __exit__(self, *_: object) -> None:
        self.http.stop()

    @property
    def path(self) -> str:
        return f"/v1/secret/data/{self.entry}"

    @property
    def versions_path(self) -> str:
        return f"/v1/secret/metadata/{self.entry}"

    def restart_empty(self) -> None:
        self.tokens.clear()
        self.versions.clear()

    def _unless_sealed(self, answer: Any) -> Any:
        def answering(asked: Asked) -> Reply:
            with self._one_at_a_time:
                reply: Reply = answer(asked) if not self.sealed else SEALED
            return reply

        return answering

    def _log_in(self, asked: Asked) -> Reply:
        if json.loads(asked.body) != {"role_id": ROLE_ID, "secret_id": SECRET_ID}:
            return Reply(400, {"errors": ["invalid role or secret ID"]})
        self.logins += 1
        token = f"hvs.token-{self.logins}"
        self.tokens.add(token)
        return Reply(200, self._auth(token, self.lifetime))

    def _renew(self, asked: Asked) -> Reply:
        token = asked.headers.get("x-vault-token", "")
        if token not in self.tokens:
            return DENIED
        return Reply(200, self._auth(token, self.renewed_lifetime))

    def _auth(self, token: str, lifetime: int) -> dict[str, Any]:
        auth = {"client_token": token, "lease_duration": lifetime, "renewable": self.renewable}
        return {"request_id": "r", "data": None, "auth": auth}

    def _data(self, asked: Asked) -> Reply:
        if asked.headers.get("x-vault-token") not in self.tokens or not self.policy_allows:
            return DENIED
        if asked.method == "POST":
            written = json.loads(asked.body)
            if written["options"].get("cas", len(self.versions)) != len(self.versions):
                return Reply(400, {"errors": ["check-and-set parameter did not match"]})
            self.versions.append(written["data"])
            return Reply(200, {"data": self._metadata()})
        if not self.versions:
            return Reply(404, {"errors": []})
        data = {"data": self.versions[-1], "metadata": self._metadata()}
        return Reply(404 if self.versions[-1] is None else 200, {"data": data, "auth": None})

    def _all_versions(self, asked: Asked) -> Reply:
        if asked.headers.get("x-vault-token") not in self.tokens or not self.policy_allows:
            return DENIED
        if not self.versions:
            return Reply(404, {"errors": []})
        versions = {str(number + 1): self._times(number) for number in range(len(self.versions))}
        data = {"current_version": len(self.versions), "versions": versions}
        return Reply(200, {"data": data})

    def _metadata(self) -> dict[str, Any]:
        return self._times(-1) | {"version": len(self.versions)}

    def _times(self, index: int) -> dict[str, Any]:
        deleted = bool(self.versions) and self.versions[index] is None
        return {
            "created_time": "2025-01-01T00:00:00.123456789Z",
            "deletion_time": self.deletion_time if deleted else "",
            "destroyed": self.destroyed,
        }
