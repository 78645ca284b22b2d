import gc
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from shared.settings import SECRETS_DIR_VARIABLE, STATE_DIR_VARIABLE

ROOT = Path(__file__).resolve().parents[3]
SERVICES = ("auth_server", "resource_server", "client_service")


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.fixture(params=SERVICES)
def gunicorns(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What gunicorn finds in the configuration of a service."""
    monkeypatch.setenv(STATE_DIR_VARIABLE, str(tmp_path))
    monkeypatch.setenv(SECRETS_DIR_VARIABLE, str(tmp_path))
    monkeypatch.setenv(f"{request.param.upper()}_TRANSPORT", "plain-http")
    (tmp_path / "auth_server_key_encryption_key").write_text(Fernet.generate_key().decode())
    return runpy.run_path(str(ROOT / request.param / "gunicorn.conf.py"))


@pytest.mark.parametrize("hook", ["when_ready", "on_reload"])
def test_garbage_is_put_off_until_all_is_loaded_and_no_longer(
    gunicorns: dict[str, Any], hook: str
) -> None:
    assert not gc.isenabled()
    gunicorns[hook](None)

    assert gc.isenabled()
    assert gc.get_freeze_count() > 0


def test_a_reload_keeps_no_garbage_of_what_it_replaced(gunicorns: dict[str, Any]) -> None:
    gunicorns["when_ready"](None)
    before = gc.get_freeze_count()
    gc.disable()  # as the configuration does, which is read again
    for _ in range(1000):
        circle: list[Any] = []
        circle.append(circle)
    gunicorns["on_reload"](None)

    assert gc.get_freeze_count() < before + 1000
