"""What the bank's README says of copying the token check works, step by step, away from here."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.bank_requests import INSUFFICIENT_SCOPE, INVALID_TOKEN, read_with, verdict
from tests.conformance.http_exchange import Answer, send
from tests.conformance.under_test import ResourceServerUnderTest
from tests.stack.issuer import OwnIssuer
from tests.stack.local_stack import free_ports

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "resource_server" / "README.md").read_text()
SECTION = README.partition("## Copy this check into your own API\n")[2].partition("\n## ")[0]
COPYING = re.search(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
APPLICATION = re.search(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
COPIED = {
    "resource_server/token_validation.py",
    "resource_server/issuer_keys.py",
    "shared/arrows.py",
    "shared/at_hand.py",
}
START_SECONDS = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README has one copy into it, and nothing else."""
    folder = tmp_path_factory.mktemp("elsewhere") / "my-api"
    assert COPYING is not None
    commands = COPYING[1].replace("../my-api", f"'{folder}'")
    subprocess.run(["/bin/sh", "-ec", commands], cwd=ROOT, check=True)
    return folder


def application(issuer_url: str, own_url: str) -> str:
    """Return the README's application with the addresses of these tests."""
    assert APPLICATION is not None
    text = APPLICATION[1]
    assert text.count('"http://localhost:9000"') == text.count('"http://localhost:5000"') == 1
    return text.replace("http://localhost:9000", issuer_url).replace(
        "http://localhost:5000", own_url
    )


@pytest.fixture(scope="module")
def api(folder: Path) -> Iterator[ResourceServerUnderTest]:
    """The application, run as a process of its own that knows nothing of this project."""
    own = f"http://localhost:{free_ports(1)[0]}"
    with OwnIssuer(audience=own) as issuer:
        (folder / "app.py").write_text(application(issuer.url, own))
        command = [sys.executable, "-m", "flask", "run", "--port", own.rpartition(":")[2]]
        with subprocess.Popen(
            command, cwd=folder, env=bare_environment(), stderr=subprocess.DEVNULL
        ) as process:
            try:
                wait_until_it_answers(process, own)
                yield ResourceServerUnderTest(f"{own}/hello", "Read", issuer)
            finally:
                process.terminate()


def bare_environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


def wait_until_it_answers(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None
        assert time.monotonic() < deadline
        try:
            send("GET", url)
        except OSError:
            time.sleep(0.05)
        else:
            return


def test_only_what_the_readme_names_is_copied(folder: Path) -> None:
    copied = {str(file.relative_to(folder)) for file in folder.rglob("*.py")}

    assert copied - {"app.py"} == COPIED


def test_the_application_has_about_ten_lines() -> None:
    assert APPLICATION is not None
    assert len([line for line in APPLICATION[1].splitlines() if line]) <= 12


def test_the_modules_come_from_the_copies(folder: Path) -> None:
    ask = "import resource_server.token_validation as t, shared.arrows as a"
    found = subprocess.run(
        [sys.executable, "-c", f"{ask}; print(t.__file__); print(a.__file__)"],
        cwd=folder,
        env=bare_environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert [Path(line).is_relative_to(folder) for line in found.stdout.split()] == [True, True]


@pytest.mark.parametrize("kid", ["rsa", "pss", "ec", "ed"])
def test_a_good_token_is_greeted(api: ResourceServerUnderTest, kid: str) -> None:
    answer = read_with(api, api.issuer.token(kid))

    assert (answer.status, answer.json()) == (200, {"hello": "own-client"})


def test_no_token_is_challenged(api: ResourceServerUnderTest) -> None:
    answer = send("GET", api.url)

    assert (answer.status, answer.header("WWW-Authenticate")) == (401, 'Bearer realm="my API"')


def test_a_token_without_the_scope_is_told_which(api: ResourceServerUnderTest) -> None:
    answer = read_with(api, api.issuer.token(claims={"scope": "Write"}))

    assert verdict(answer) == INSUFFICIENT_SCOPE


def bad_tokens(issuer: OwnIssuer) -> dict[str, str]:
    return {
        "expired": issuer.token(claims={"iat": 1_000_000_000, "exp": 1_000_000_300}),
        "of another audience": issuer.token(claims={"aud": "http://localhost:9001"}),
        "of another issuer": issuer.token(claims={"iss": "http://localhost:9000"}),
        "id_token": issuer.id_token(),
        "alg none": issuer.token(header={"alg": "none"}, signature=b""),
        "HS256": issuer.token_with_hs256(issuer.keys["rsa"].public_pem()),
        "forged": issuer.token(signature=bytes(256)),
        "opaque": "opaque",
    }


def test_every_other_token_is_refused(api: ResourceServerUnderTest) -> None:
    answers: dict[str, Answer] = {
        name: read_with(api, token) for name, token in bad_tokens(api.issuer).items()
    }

    assert {verdict(answer) for answer in answers.values()} == {INVALID_TOKEN}
