"""AWS on loopback: moto's server, and what the platform tells a process that runs there."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import boto3
import botocore.loaders
import botocore.session
import pytest
import requests
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"

_one_loader = cache(botocore.loaders.create_loader)


class Aws:
    """A moto server, and a hand of our own in it: an administrator's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.secrets = self._client("secretsmanager")

    def forget_everything(self) -> None:
        requests.post(f"{self.url}/moto-api/reset", timeout=10)

    def judge_every_request(self) -> None:
        """Let policies count from now on: moto allows everything by itself."""
        requests.post(f"{self.url}/moto-api/reset-auth", data=b"0", timeout=10)

    def judge_nothing(self) -> None:
        requests.post(f"{self.url}/moto-api/reset-auth", data=b"inf", timeout=10)

    def user_who_may(self, *actions: str) -> dict[str, str]:
        """Return what the platform tells a process that may do ``actions`` and nothing else.

        moto does not know which secret a request is about: the policy is about all of them.
        """
        iam = self._client("iam")
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        iam.create_user(UserName="job")
        iam.put_user_policy(UserName="job", PolicyName="p", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName="job")["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }

    def replace(self, name: str, text: str) -> None:
        """Make a version as somebody else does: with an id that is not ours."""
        self.secrets.put_secret_value(SecretId=name, SecretString=text)

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="admin",
            aws_secret_access_key="admin",
        )


@contextmanager
def running_aws() -> Iterator[Aws]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it tells of every request
    host, port = server.get_host_and_port()
    aws = Aws(f"http://{host}:{port}")
    aws.forget_everything()  # what another server of this process left: moto has one memory
    try:
        yield aws
    finally:
        server.stop()


def tell_the_platforms(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Let the platform say ``variables``, and nothing that this machine's owner has set.

    Where every vault has a client of its own, boto3 reads its big tables once all the same.
    """
    monkeypatch.setattr(botocore.session, "create_loader", _one_loader)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
