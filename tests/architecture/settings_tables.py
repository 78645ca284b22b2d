"""The table of settings in each service's README, made from its settings class.

`make readmes` writes them anew; a test fails where a table and its class differ.
"""

import os
from pathlib import Path
from typing import Final
from unittest import mock

from pydantic_core import PydanticUndefined

from auth_server.settings import AuthServerSettings
from client_service.settings import ClientServiceSettings
from resource_server.settings import ResourceServerSettings
from shared.settings import STATE_DIR_VARIABLE, ServiceSettings, setting_name

ROOT: Final = Path(__file__).resolve().parents[2]
BEGIN: Final = "<!-- settings: written by `make readmes` -->"
END: Final = "<!-- end of settings -->"
SETTINGS: Final[dict[str, type[ServiceSettings]]] = {
    "auth_server": AuthServerSettings,
    "resource_server": ResourceServerSettings,
    "client_service": ClientServiceSettings,
}


def readme_of(service: str) -> Path:
    """Return the README of a service."""
    return ROOT / service / "README.md"


def with_table(readme: str, service: str) -> str:
    """Return the text of a README with the table as it is now; the rest stays."""
    before, _, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    assert end, f"the README of {service} has no place for its settings"
    return f"{before}{BEGIN}\n{settings_table(SETTINGS[service])}\n{END}{after}"


def settings_table(settings: type[ServiceSettings]) -> str:
    """Return a row for each setting: first those of the service, then those of all services."""
    own = [name for name in settings.model_fields if name in vars(settings)["__annotations__"]]
    others = [name for name in settings.model_fields if name not in own]
    rows = [_row(settings, name) for name in own + others]
    return "\n".join(["| Setting | Default | |", "|---|---|---|", *rows])


def _row(settings: type[ServiceSettings], name: str) -> str:
    field = settings.model_fields[name]
    shown = setting_name(settings, name)
    if "SecretStr" in str(field.annotation):
        shown = f"secret file {shown.lower()}"
    sentence = " ".join((field.description or "").split()).replace("|", "\\|")
    return f"| `{shown}` | {_default(settings, name)} | {sentence} |"


def _default(settings: type[ServiceSettings], name: str) -> str:
    """Return the default as it is written in the environment; of the local stack, if computed."""
    with mock.patch.dict(os.environ, {STATE_DIR_VARIABLE: "/.local"}):
        value = settings.model_fields[name].get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "must be set"
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        value = ",".join(value)
    if isinstance(value, bool):
        value = str(value).lower()
    return f"`{value}`".replace("/.local", ".local")


if __name__ == "__main__":
    for name in SETTINGS:
        file = readme_of(name)
        file.write_text(with_table(file.read_text(), name))
