"""Keycloak's distribution from Maven Central, with a realm that is made by its own API."""

import hashlib
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests

from bench.launch import FORM, Ask, CannotRunError, Launch, Peer, token_ask
from bench.process import ServerError, running
from bench.programs import CACHE, PEERS, bench_secret, free_port, java_home, java_version, run

VERSION = "26.7.3"
DISTRIBUTION = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:zip"
SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
TOKEN_PATH = "/realms/{}/protocol/openid-connect/token"  # noqa: S105 - a path
ADMIN = "bench-admin"
REQUEST_SECONDS = 30
EC_KEY = {
    "name": "ec",
    "providerId": "ecdsa-generated",
    "providerType": "org.keycloak.keys.KeyProvider",
    "config": {"priority": ["100"], "ecdsaEllipticCurveKey": ["P-256"]},
}


def _prepare(folder: Path) -> Launch:
    home, java = CACHE / f"keycloak-{VERSION}", java_home()
    ready = home / f"ready-{_fingerprint()}"
    environment = {"JAVA_HOME": str(java)}
    if not ready.exists():
        print("installing Keycloak, and making its realm")
        _install(home)
        kc = str(home / "bin" / "kc.sh")
        run([kc, "build", "--db=dev-file", "--cache=local"], home, environment)
        _make_realm(home, environment, folder / "realm.log")
        ready.touch()
    return _launch(home, environment, "bench")


def _launch(home: Path, environment: dict[str, str], realm: str) -> Launch:
    port, secret = free_port(), bench_secret()
    listen = ("--http-enabled=true", "--http-host=127.0.0.1", f"--http-port={port}")
    options = (*listen, "--hostname-strict=false", "--log-level=warn")
    path = TOKEN_PATH.format(realm)
    asks = (("RS256", "bench"), ("ES256", "bench-es"))
    return Launch(
        (str(home / "bin" / "kc.sh"), "start", "--optimized", *options),
        home,
        port,
        tuple(token_ask(name, path, client, secret) for name, client in asks),
        environment,
        f"/realms/{realm}/protocol/openid-connect/certs",
        f"Keycloak {VERSION}, Java {java_version(Path(environment['JAVA_HOME']))}",
        start_seconds=240,
    )


def _install(home: Path) -> None:
    """Fetch the distribution by Maven, check what it is, and unpack it anew."""
    if shutil.which("mvn") is None:
        raise CannotRunError("Maven is not installed")
    fetched = CACHE / f"keycloak-quarkus-dist-{VERSION}.zip"
    command = ["mvn", "--batch-mode", "--quiet", "dependency:copy", f"-Dartifact={DISTRIBUTION}"]
    run([*command, f"-DoutputDirectory={CACHE}"], CACHE)
    if hashlib.sha256(fetched.read_bytes()).hexdigest() != SHA256:
        raise CannotRunError(f"{fetched.name} is not the one whose SHA-256 we know")
    shutil.rmtree(home, ignore_errors=True)
    with zipfile.ZipFile(fetched) as archive:
        archive.extractall(CACHE)
    for script in (home / "bin").glob("*.sh"):
        script.chmod(0o755)


def _fingerprint() -> str:
    """Return what changes when the realm has to be made anew."""
    made_of = (PEERS / "keycloak" / "realm.json").read_bytes() + bench_secret().encode()
    return hashlib.sha256(made_of).hexdigest()[:12]


def _make_realm(home: Path, environment: dict[str, str], log: Path) -> None:
    """Start Keycloak once and make the realm, its EC key, its scopes and its clients."""
    admin = {"KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN, "KC_BOOTSTRAP_ADMIN_PASSWORD": bench_secret()}
    form = f"grant_type=password&client_id=admin-cli&username={ADMIN}&password={bench_secret()}"
    launch = _launch(home, environment | admin, "master")
    login = Ask("login", TOKEN_PATH.format("master"), headers={"Content-Type": FORM}, body=form)
    launch = replace(launch, asks=(login,))
    try:
        with running(launch, os.sched_getaffinity(0), log):
            _Admin(launch.port, form).make_realm()
    except (ServerError, requests.RequestException) as error:
        raise CannotRunError(f"its realm could not be made: {error}") from error


class _Admin:
    """Keycloak's own API for administrators, as far as it is needed here."""

    def __init__(self, port: int, login: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._login = login

    def make_realm(self) -> None:
        realm = json.loads((PEERS / "keycloak" / "realm.json").read_text())
        for client in realm["clients"]:
            client["secret"] = bench_secret()
        self._ask("POST", "/admin/realms", realm)
        parent = self._ask("GET", "/admin/realms/bench").json()["id"]
        self._ask("POST", "/admin/realms/bench/components", {**EC_KEY, "parentId": parent})
        for scope in ("Read", "Write"):
            self._add_scope(scope)

    def _add_scope(self, scope: str) -> None:
        """Make a scope that every client may ask for, and that a token then names."""
        attributes = {"include.in.token.scope": "true"}
        made = {"name": scope, "protocol": "openid-connect", "attributes": attributes}
        answer = self._ask("POST", "/admin/realms/bench/client-scopes", made)
        scope_id = answer.headers["Location"].rpartition("/")[2]
        for client_id in ("bench", "bench-es"):
            found = self._ask("GET", f"/admin/realms/bench/clients?clientId={client_id}").json()
            path = f"/admin/realms/bench/clients/{found[0]['id']}/optional-client-scopes/{scope_id}"
            self._ask("PUT", path)

    def _ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        answer = requests.request(
            method,
            self._url + path,
            json=body,
            headers={"Authorization": f"Bearer {self._token()}"},
            timeout=REQUEST_SECONDS,
        )
        answer.raise_for_status()
        return answer

    def _token(self) -> str:
        """Log in anew: an administrator's token lives for a minute."""
        answer = requests.post(
            self._url + TOKEN_PATH.format("master"),
            data=self._login,
            headers={"Content-Type": FORM},
            timeout=REQUEST_SECONDS,
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])


KEYCLOAK = Peer("Keycloak", _prepare, compiles_while_it_runs=True)
