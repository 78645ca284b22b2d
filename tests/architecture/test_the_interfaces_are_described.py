"""Each OpenAPI document and its service's routes, and each settings table and its class, agree."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask
from pydantic import SecretStr

from auth_server.app import create_app as auth_server
from auth_server.settings import AuthServerSettings
from client_service.app import create_app as client_service
from client_service.settings import ClientServiceSettings
from resource_server.app import create_app as resource_server
from resource_server.settings import ResourceServerSettings
from tests.architecture.settings_tables import ROOT, SETTINGS, readme_of, with_table

SERVICES = ["auth_server", "resource_server", "client_service"]
NOT_OPERATIONS = {"parameters", "summary", "description"}


def application(service: str, folder: Path) -> Flask:
    key = SecretStr("MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=")
    url = f"sqlite:///{folder / 'a.db'}"
    applications = {
        "auth_server": lambda: auth_server(
            AuthServerSettings(database_url=url, transport="plain-http", key_encryption_key=key)
        ),
        "resource_server": lambda: resource_server(
            ResourceServerSettings(database_url=url, transport="plain-http")
        ),
        "client_service": lambda: client_service(
            ClientServiceSettings(database_url=url, transport="plain-http", receive_traces=True)
        ),
    }
    return applications[service]()


def document(service: str) -> dict[str, Any]:
    text = (ROOT / service / "openapi.yaml").read_text()
    parsed: dict[str, Any] = yaml.safe_load(text)
    return parsed


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_has_the_routes_of_the_service_and_no_other(
    service: str, tmp_path: Path
) -> None:
    rules = application(service, tmp_path).url_map.iter_rules()
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in rules
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (method, path)
        for path, operations in document(service)["paths"].items()
        for method in operations.keys() - NOT_OPERATIONS
    }

    assert described == routes


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_is_served_as_it_is(service: str, tmp_path: Path) -> None:
    answer = application(service, tmp_path).test_client().get("/openapi.yaml")

    assert answer.mimetype == "application/yaml"
    assert answer.data == (ROOT / service / "openapi.yaml").read_bytes()


@pytest.mark.parametrize("service", SETTINGS)
def test_the_readme_has_the_settings_as_the_class_has_them(service: str) -> None:
    readme = readme_of(service).read_text()

    assert with_table(readme, service) == readme
