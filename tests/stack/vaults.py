"""Each vault that a setting can name, with its server on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from shared.settings import VaultSettings
from tests.stack.aws import REGION, running_aws, tell_the_platforms
from tests.stack.azure_key_vault import KeyVaultInMemory
from tests.stack.loopback import LoopbackServer
from tests.stack.openbao import ROLE_ID, SECRET_ID, OpenBaoInMemory

Kind = Literal["directory", "openbao", "aws", "azure"]


@contextmanager
def running_vault(
    kind: Kind, entry: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[VaultSettings]:
    """Yield the settings of a service that keeps ``entry`` in a vault of ``kind``."""
    opened = {
        "directory": lambda: _directory(folder),
        "openbao": lambda: _openbao(entry),
        "aws": lambda: _aws(monkeypatch),
        "azure": lambda: _azure(entry, folder, monkeypatch),
    }
    with opened[kind]() as place:
        yield VaultSettings(bind="localhost:1", database_url="sqlite://", vault=kind, **place)


@contextmanager
def _directory(folder: Path) -> Iterator[dict[str, Any]]:
    yield {"vault_directory": folder / "directory-vault"}


@contextmanager
def _openbao(entry: str) -> Iterator[dict[str, Any]]:
    ids = {"vault_role_id": SecretStr(ROLE_ID), "vault_secret_id": SecretStr(SECRET_ID)}
    with OpenBaoInMemory(LoopbackServer(), entry) as openbao:
        yield {"vault_url": openbao.http.url, **ids}


@contextmanager
def _aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    keys = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "s3cret-key"}
    tell_the_platforms(monkeypatch, AWS_DEFAULT_REGION=REGION, **keys)
    with running_aws() as aws:
        yield {"vault_url": aws.url}


@contextmanager
def _azure(entry: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    with KeyVaultInMemory.made_in(folder, entry) as azure:
        azure.tell_the_platforms(monkeypatch)
        yield {"vault_url": azure.http.url, "vault_ca_file": azure.ca_file}
