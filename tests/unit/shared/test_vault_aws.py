import json
import logging.config
import sys
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.service_logging import logging_configuration
from shared.settings import VaultSettings
from shared.vault import (
    EntryNotFoundError,
    EntryVersion,
    Vault,
    VaultAnswerError,
    VaultConflictError,
    VaultError,
    VaultForbiddenError,
    VaultLoginRefusedError,
    VaultThrottledError,
    VaultUnreachableError,
    open_vault,
)
from shared.vault.aws_client import ATTEMPTS, AwsClient, Request
from shared.vault.aws_secrets_manager import AwsSecretsManagerVault, number_of, version_id
from tests.stack.aws import REGION, Aws, running_aws, tell_the_platforms
from tests.stack.documents import json_blocks
from tests.stack.loopback import Answering, Asked, LoopbackServer, Reply
from tests.stack.missing_package import without_package
from tests.stack.tls import own_certificate

OLD = {"client_id": "bank-reconciler", "client_secret": "old"}
NEW = {"client_id": "bank-reconciler", "client_secret": "new"}
TELLING = {"client_secret": "f1eld-value"}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "s3cret-key-77ab"}
THROTTLED = Reply(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})


@pytest.fixture(scope="module")
def running() -> Iterator[Aws]:
    with running_aws() as aws:
        yield aws


@pytest.fixture
def aws(running: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    tell_the_platforms(monkeypatch, AWS_DEFAULT_REGION=REGION, **KEYS)
    running.forget_everything()
    yield running
    running.judge_nothing()


def settings_of(url: str | None, **more: Any) -> VaultSettings:
    return VaultSettings(
        **more, bind="localhost:1", database_url="sqlite://", vault="aws", vault_url=url
    )


@pytest.fixture
def vault(aws: Aws) -> Vault:
    return open_vault(settings_of(aws.url))


def test_what_is_written_can_be_read(vault: Vault) -> None:
    vault.write("bank", OLD)

    assert vault.read("bank") == OLD


def test_an_entry_is_one_secret_below_the_prefix(aws: Aws) -> None:
    open_vault(settings_of(aws.url, vault_prefix="oauth/")).write("bank", OLD)

    held = aws.secrets.get_secret_value(SecretId="oauth/bank")["SecretString"]
    assert held == '{"client_id": "bank-reconciler", "client_secret": "old"}'


def test_a_second_version_replaces_every_field(vault: Vault) -> None:
    vault.write("bank", OLD | {"old_field": "x"})
    vault.write("bank", NEW)

    assert vault.read("bank") == NEW


def test_a_write_returns_the_number_of_its_version(vault: Vault) -> None:
    assert [vault.write("bank", OLD), vault.write("bank", NEW)] == [1, 2]
    assert vault.version("bank") == EntryVersion(2, is_readable=True)


def test_an_entry_that_was_never_written_is_at_version_0_and_missing(vault: Vault) -> None:
    assert vault.version("bank") == EntryVersion(0, is_readable=False)
    with pytest.raises(EntryNotFoundError, match="no entry bank"):
        vault.read("bank")


@pytest.mark.parametrize("versions", [0, 1, 2])
def test_a_write_over_the_expected_version_is_done(vault: Vault, versions: int) -> None:
    for _ in range(versions):
        vault.write("bank", OLD)

    assert vault.write("bank", NEW, expected_version=versions) == versions + 1
    assert vault.read("bank") == NEW


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_a_write_over_another_version_than_the_expected_is_a_conflict_and_changes_nothing(
    vault: Vault, expected: int
) -> None:
    vault.write("bank", OLD)
    vault.write("bank", OLD)

    with pytest.raises(VaultConflictError, match=f"is at version 2, not {expected}"):
        vault.write("bank", NEW, expected_version=expected)
    assert vault.read("bank") == OLD


class Interrupted(AwsClient):
    """Lets somebody else act once, just before a request that does what ``before`` says."""

    def __init__(self, url: str, before: str, act: Callable[[], object]) -> None:
        super().__init__(REGION, url)
        self._before, self._act = before, act

    def ask(self, request: Request, doing: str) -> tuple[str, dict[str, Any]]:
        if doing.startswith(self._before):
            self._before = "never"
            self._act()
        return super().ask(request, doing)


@pytest.mark.parametrize("before", ["write", "label"])
def test_of_two_writers_of_the_same_version_the_one_that_labels_it_first_wins(
    aws: Aws, vault: Vault, before: str
) -> None:
    vault.write("bank", OLD)
    late = Interrupted(aws.url, before, lambda: vault.write("bank", NEW))

    with pytest.raises(VaultConflictError, match="is at version 2, not 1"):
        AwsSecretsManagerVault(late).write("bank", TELLING, expected_version=1)
    assert (vault.read("bank"), vault.version("bank").number) == (NEW, 2)


def test_of_two_first_writers_the_one_that_creates_the_secret_wins(aws: Aws, vault: Vault) -> None:
    late = Interrupted(aws.url, "create", lambda: vault.write("bank", NEW))

    with pytest.raises(VaultConflictError, match="is at version 1, not 0"):
        AwsSecretsManagerVault(late).write("bank", OLD)
    assert vault.read("bank") == NEW


def test_of_writers_in_many_threads_one_wins(vault: Vault) -> None:
    vault.write("bank", OLD)
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: outcome_of_a_second_write(vault), range(4)))

    assert sorted(outcomes) == ["VaultConflictError"] * 3 + ["written"]


def outcome_of_a_second_write(vault: Vault) -> str:
    try:
        vault.write("bank", NEW, expected_version=1)
    except VaultError as error:
        return type(error).__name__
    return "written"


def test_a_version_of_somebody_else_has_a_number_of_its_own_and_ours_count_on_from_it(
    aws: Aws, vault: Vault
) -> None:
    vault.write("bank", OLD)
    aws.replace("bank", '{"client_id": "theirs"}')
    theirs = vault.version("bank").number

    with pytest.raises(VaultConflictError, match=f"is at version {theirs}, not 1"):
        vault.write("bank", NEW, expected_version=1)
    assert vault.read("bank") == {"client_id": "theirs"}
    assert vault.write("bank", NEW, expected_version=theirs) == theirs + 1
    assert vault.version("bank").number == theirs + 1


def test_the_number_in_an_id_of_ours_is_that_of_its_version() -> None:
    ids = [version_id(number) for number in (1, 1, 2, 2**30)]

    assert [number_of(one) for one in ids] == [1, 1, 2, 2**30]
    assert len(set(ids)) == 4
    assert {uuid.UUID(one).version for one in ids} == {8}


def test_the_number_of_a_foreign_version_leaves_a_database_room_to_count_on() -> None:
    numbers = [number_of(str(uuid.uuid4())) for _ in range(1000)]

    assert max(numbers) < 2**30
    assert len(set(numbers)) > 990


def test_a_secret_without_a_value_is_at_version_0_and_can_be_written(
    aws: Aws, vault: Vault
) -> None:
    aws.secrets.create_secret(Name="bank")

    assert vault.version("bank") == EntryVersion(0, is_readable=False)
    with pytest.raises(EntryNotFoundError):
        vault.read("bank")
    assert vault.write("bank", NEW, expected_version=0) == 1
    assert vault.read("bank") == NEW


def test_a_secret_that_waits_for_its_deletion_keeps_its_number_and_is_missing(
    aws: Aws, vault: Vault
) -> None:
    vault.write("bank", OLD)
    aws.secrets.delete_secret(SecretId="bank")

    assert vault.version("bank") == EntryVersion(1, is_readable=False)
    with pytest.raises(EntryNotFoundError):
        vault.read("bank")
    with pytest.raises(VaultError, match="waits for its deletion: restore it"):
        vault.write("bank", NEW)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("pa55word", "no JSON object for bank$"),
        ("[" * 50_000, "no JSON object for bank$"),
        ('["client_id"]', "no JSON object for bank$"),
        ('{"client_id": 7}', "a field that is no text for bank$"),
    ],
    ids=["no JSON", "deep", "list", "number"],
)
def test_a_secret_that_holds_no_fields_is_an_error_that_shows_nothing_of_it(
    aws: Aws, vault: Vault, text: str, what: str
) -> None:
    aws.secrets.create_secret(Name="bank", SecretString=text)

    with pytest.raises(VaultAnswerError, match=what) as caught:
        vault.read("bank")
    assert "pa55word" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_of_bytes_holds_no_fields(aws: Aws, vault: Vault) -> None:
    aws.secrets.create_secret(Name="bank", SecretBinary=b"{}")

    with pytest.raises(VaultAnswerError, match=r"no JSON object for bank$"):
        vault.read("bank")


@pytest.mark.parametrize("entry", ["../bank", "", "a/b", "arn:aws"], ids=["up", "no", "/", "arn"])
def test_a_name_that_could_leave_the_prefix_is_refused(vault: Vault, entry: str) -> None:
    with pytest.raises(VaultError, match="not an entry's name"):
        vault.read(entry)


def may(aws: Aws, monkeypatch: pytest.MonkeyPatch, *actions: str) -> Vault:
    """Return the vault as a role sees it that may do ``actions`` alone."""
    credentials = aws.user_who_may(*actions)
    aws.judge_every_request()
    tell_the_platforms(monkeypatch, AWS_DEFAULT_REGION=REGION, **credentials)
    return open_vault(settings_of(aws.url))


def test_the_newest_version_is_told_without_the_right_to_read_it(
    aws: Aws, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.write("bank", OLD)
    describing = may(aws, monkeypatch, "secretsmanager:DescribeSecret")

    assert describing.version("bank") == EntryVersion(1, is_readable=True)
    with pytest.raises(VaultForbiddenError, match=r"does not allow our role to read bank$"):
        describing.read("bank")


def actions_in(readme: str) -> list[str]:
    statements = [one for block in json_blocks(readme) for one in block.get("Statement", [])]
    return [action for one in statements for action in one["Action"]]


def test_the_rights_in_the_clients_readme_let_it_read_and_nothing_else(
    aws: Aws, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.write("bank", OLD)
    client = may(aws, monkeypatch, *actions_in("client_service"))

    assert client.read("bank") == OLD
    with pytest.raises(VaultForbiddenError, match=r"does not allow our role to describe bank$"):
        client.write("bank", NEW)


def test_the_rights_in_the_authorization_servers_readme_let_it_write_and_not_read(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = may(aws, monkeypatch, *actions_in("auth_server"))

    assert [server.write("bank", OLD), server.write("bank", NEW, expected_version=1)] == [1, 2]
    assert server.version("bank") == EntryVersion(2, is_readable=True)
    with pytest.raises(VaultForbiddenError):
        server.read("bank")


def test_a_platform_without_credentials_is_told_and_one_that_gets_them_needs_no_restart(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_the_platforms(monkeypatch, AWS_DEFAULT_REGION=REGION)
    vault = open_vault(settings_of(aws.url))

    with pytest.raises(VaultLoginRefusedError, match=r"no credentials for http.*: NoCredentials"):
        vault.read("bank")
    tell_the_platforms(monkeypatch, AWS_DEFAULT_REGION=REGION, **KEYS)
    assert vault.write("bank", OLD) == 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A service that answers what a test says, in the form that AWS documents."""
    tell_the_platforms(monkeypatch, AWS_DEFAULT_REGION=REGION, **KEYS)
    with LoopbackServer() as running:
        yield running


def asked_once(server: LoopbackServer, patience_seconds: float = 5) -> AwsSecretsManagerVault:
    patience = (patience_seconds, patience_seconds)
    return AwsSecretsManagerVault(
        AwsClient(REGION, server.url, attempts=1, patience_seconds=patience)
    )


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (THROTTLED, VaultThrottledError, "is asked too often to read bank$"),
        (
            Reply(400, {"__type": "AccessDeniedException", "Message": "not authorized"}),
            VaultForbiddenError,
            "does not allow our role to read bank$",
        ),
        (
            Reply(400, {"__type": "UnrecognizedClientException", "message": "invalid"}),
            VaultLoginRefusedError,
            "refuses the platform's credentials: UnrecognizedClientException$",
        ),
        (
            Reply(400, {"__type": "ExpiredTokenException", "message": "expired"}),
            VaultLoginRefusedError,
            "refuses the platform's credentials: ExpiredTokenException$",
        ),
        (
            Reply(400, {"__type": "DecryptionFailure", "message": "KMS"}),
            VaultAnswerError,
            "answered DecryptionFailure to a read of bank$",
        ),
        (
            Reply(500, {"__type": "InternalServiceError", "message": "internal"}),
            VaultAnswerError,
            "answered InternalServiceError to a read of bank$",
        ),
        (Reply(502, body=b"<html>"), VaultAnswerError, "answered 502 to a read of bank$"),
        (Reply(307, headers={"Location": "/x"}), VaultAnswerError, "answered 307 to a read"),
        (Reply(200, body=b"<html>"), VaultAnswerError, "answered"),
        (Reply(200, body=b"[" * 50_000), VaultAnswerError, "answered"),
        (Reply(200, ["SecretString"]), VaultAnswerError, "answered"),
        (Reply(200, {}), VaultAnswerError, "answered no JSON object for bank$"),
        (Reply(200, {"SecretString": 7}), VaultAnswerError, "answered no JSON object for bank$"),
    ],
    ids=[
        "throttled",
        "forbidden",
        "unknown key",
        "expired",
        "KMS",
        "500",
        "502",
        "redirect",
        "HTML",
        "deep",
        "list",
        "empty",
        "number",
    ],
)
def test_an_answer_that_is_no_secret_is_told_as_what_it_is(
    server: LoopbackServer, reply: Reply, kind: type[VaultError], text: str
) -> None:
    server.reply("/", reply)

    with pytest.raises(kind, match=text) as caught:
        asked_once(server).read("bank")
    assert "\n" not in str(caught.value)
    assert server.paths() == ["/"]


GARBAGE = Reply(200, body=b"<html>")
DESCRIBED = Reply(200, {"ARN": "arn", "VersionIdsToStages": {}})
UNKNOWN = Reply(400, {"__type": "ResourceNotFoundException"})


def confirmed(asked: Asked) -> Reply:
    return Reply(200, {"VersionId": json.loads(asked.body)["ClientRequestToken"]})


@pytest.mark.parametrize(
    ("replies", "what"),
    [
        ([GARBAGE], "answered no secret to a description of bank$"),
        ([UNKNOWN, GARBAGE], "answered another version to the creation of bank$"),
        ([DESCRIBED, GARBAGE], "answered another version to a write of bank$"),
        ([DESCRIBED, UNKNOWN], "answered ResourceNotFoundException to a write of bank$"),
        ([DESCRIBED, confirmed, GARBAGE, DESCRIBED], "no secret to the labelling of bank$"),
    ],
    ids=["describe", "create", "put", "gone", "label"],
)
def test_a_write_that_nobody_confirms_is_told(
    server: LoopbackServer, replies: list[Reply | Answering], what: str
) -> None:
    server.reply("/", *replies)

    with pytest.raises(VaultAnswerError, match=what):
        asked_once(server).write("bank", NEW)


def test_after_its_credentials_were_refused_a_process_asks_the_platform_again(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reply("/", Reply(400, {"__type": "ExpiredTokenException"}), Reply(200, held(OLD)))
    vault = asked_once(server)
    with pytest.raises(VaultLoginRefusedError):
        vault.read("bank")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIALATER")

    assert vault.read("bank") == OLD
    signed_by = [asked.headers["authorization"].split("=")[1][:9] for asked in server.asked]
    assert signed_by == ["AKIATEST/", "AKIALATER"]


def held(fields: dict[str, str]) -> dict[str, str]:
    inside = ", ".join(f'"{name}": "{text}"' for name, text in fields.items())
    return {"SecretString": f"{{{inside}}}"}


def test_a_vault_that_throttles_for_a_moment_is_asked_again(server: LoopbackServer) -> None:
    server.reply("/", THROTTLED, Reply(200, held(OLD)))

    assert AwsSecretsManagerVault(AwsClient(REGION, server.url)).read("bank") == OLD


def test_a_vault_that_goes_on_throttling_is_asked_a_bounded_number_of_times(
    server: LoopbackServer,
) -> None:
    server.reply("/", THROTTLED)

    with pytest.raises(VaultThrottledError):
        AwsSecretsManagerVault(AwsClient(REGION, server.url)).read("bank")
    assert len(server.asked) == ATTEMPTS


def test_an_endpoint_that_does_not_listen_is_unreachable(server: LoopbackServer) -> None:
    server.stop()

    with pytest.raises(VaultUnreachableError, match="cannot be reached: EndpointConnectionError"):
        asked_once(server).read("bank")


def test_an_endpoint_that_is_slow_is_unreachable(server: LoopbackServer) -> None:
    answered = threading.Event()

    def slow(_: Asked) -> Reply:
        answered.wait(10)
        return Reply(500)

    server.reply("/", slow)
    try:
        with pytest.raises(VaultUnreachableError, match="cannot be reached: ReadTimeoutError"):
            asked_once(server, patience_seconds=0.05).read("bank")
    finally:
        answered.set()


def test_an_endpoint_of_our_own_ca_is_trusted_and_one_of_an_unknown_ca_is_not(
    server: LoopbackServer, tmp_path: Path
) -> None:
    ca_file, pem = own_certificate(tmp_path)
    server.speak_tls(pem)
    server.reply("/", Reply(200, held(OLD)))

    assert open_vault(settings_of(server.url, vault_ca_file=ca_file)).read("bank") == OLD
    with pytest.raises(VaultUnreachableError, match="cannot be reached: SSLError"):
        asked_once(server).read("bank")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Reply(500, {"__type": "InternalServiceError", "message": "f1eld-value s3cret-key-77ab"}),
        Reply(400, {"__type": "AccessDeniedException", "message": "f1eld-value s3cret-key-77ab"}),
        Reply(200, body=b"f1eld-value s3cret-key-77ab"),
    ],
    ids=["500", "forbidden", "garbage"],
)
def test_no_secret_stands_in_an_error_nor_in_its_causes(
    server: LoopbackServer, fault: Reply
) -> None:
    server.reply("/", Reply(200, {"ARN": "arn", "VersionIdsToStages": {}}), fault)
    vault = asked_once(server)

    with pytest.raises(VaultError) as caught:
        vault.write("bank", TELLING)
    shown = "".join(traceback.format_exception(caught.value)) + repr(vault)
    assert [secret for secret in ("f1eld", "s3cret", "AKIATEST") if secret in shown] == []


def test_no_secret_is_logged_however_talkative_the_log_is(
    aws: Aws, vault: Vault, capsys: pytest.CaptureFixture[str], restored_logging: None
) -> None:
    logging.config.dictConfig(logging_configuration("client_service", "DEBUG"))
    vault.write("bank", TELLING)
    vault.read("bank")

    logged = capsys.readouterr().err
    assert "urllib3" in logged  # so the log was talkative
    assert [secret for secret in ("f1eld", "s3cret-key") if secret in logged] == []


def test_the_settings_name_the_vault(server: LoopbackServer) -> None:
    vault = open_vault(settings_of(None, vault_region="eu-west-1", vault_prefix="oauth/"))

    name = "AWS Secrets Manager in eu-west-1"
    assert repr(vault) == f"AwsSecretsManagerVault('{name}', prefix='oauth/')"


def test_without_a_region_the_service_stops_with_the_settings_name(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    with pytest.raises(SystemExit, match=r"^VAULT_REGION: must be set where the vault is `aws`"):
        open_vault(settings_of(None))


def test_a_profile_that_does_not_exist_stops_the_service_too(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with pytest.raises(SystemExit, match=r"^VAULT_REGION"):
        open_vault(settings_of(None, vault_region="eu-west-1"))


def test_without_boto3_the_service_stops_with_the_settings_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "shared.vault.aws_client")
    monkeypatch.delitem(sys.modules, "shared.vault.aws_secrets_manager")
    without_package(monkeypatch, "boto3")

    with pytest.raises(SystemExit, match=r"^VAULT: `aws` needs the package boto3, which the extra"):
        open_vault(settings_of(None))
