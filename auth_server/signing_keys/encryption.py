"""What the private keys are encrypted with at rest: Fernet keys from a secret file or the vault.

The first of them encrypts, each decrypts. They are read again before a key is encrypted, and where
one cannot be opened: so a process that runs learns of a new one without a restart.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from auth_server.settings import AuthServerSettings
from shared.settings import secret_file, setting_name
from shared.vault import VaultError, open_vault

log = logging.getLogger(__name__)

FIELD = "key_encryption_key"

Source = Callable[[], str]
RestsUnder = Literal["first", "other", "none"]


class KeysUnavailableError(Exception):
    """Nothing can be signed or published now; the text says why, and holds no key."""


class KeysCannotBeOpenedError(KeysUnavailableError):
    """The key-encryption keys are none that the private keys were encrypted with."""


class KeyEncryptionUnreadableError(KeysUnavailableError):
    """The key-encryption keys cannot be read now, or what is there are none."""


class KeyEncryption:
    """Encrypts and decrypts private keys with the Fernet keys that ``source`` gives, one a line.

    ``name`` says in messages where they rest.
    """

    def __init__(self, source: Source, name: str) -> None:
        self._source = source
        self.name = name
        self._keys: Sequence[Fernet] = ()

    def read(self) -> None:
        """Read the keys; raise KeyEncryptionUnreadableError where there are none."""
        try:
            keys = [Fernet(key) for key in self._source().split()]
        except (OSError, VaultError) as error:
            raise KeyEncryptionUnreadableError(f"{self.name} cannot be read: {error}") from error
        except ValueError as error:
            raise KeyEncryptionUnreadableError(self._not_fernet_keys()) from error
        if not keys:
            raise KeyEncryptionUnreadableError(self._not_fernet_keys())
        self._keys = keys

    def encrypt(self, private: bytes) -> str:
        """Encrypt with the first key, as it is now: what was the first may have been replaced."""
        self.read()
        return self._keys[0].encrypt(private).decode()

    def decrypt(self, encrypted: str) -> bytes:
        """Decrypt with whichever key fits; raise KeysCannotBeOpenedError where none does."""
        if self._keys:
            try:
                return MultiFernet(self._keys).decrypt(encrypted)
            except InvalidToken:
                log.info("reading %s again, as a signing key cannot be opened", self.name)
        self.read()
        try:
            return MultiFernet(self._keys).decrypt(encrypted)
        except InvalidToken as error:
            raise KeysCannotBeOpenedError(self.does_not_open()) from error

    def rests_under(self, encrypted: str) -> RestsUnder:
        """Tell which of the keys, as they were read last, opens ``encrypted``."""
        opening = [place for place, key in enumerate(self._keys) if _opens(key, encrypted)]
        if not opening:
            return "none"
        return "first" if opening[0] == 0 else "other"

    def does_not_open(self) -> str:
        """Return the message for keys that rest under another key-encryption key."""
        return (
            f"{self.name} does not open the keys in the database; where the right one is lost, "
            "`keys replace-lost` goes on without them"
        )

    def _not_fernet_keys(self) -> str:
        return f"{self.name} has to hold Fernet keys, one a line"


def key_encryption(settings: AuthServerSettings) -> KeyEncryption:
    """Return what encrypts the private keys, from where the settings have it.

    The vault is asked when a key is needed. Raises SystemExit where the file is missing or bad.
    """
    if settings.key_encryption_entry is not None:
        return KeyEncryption(*_in_the_vault(settings, settings.key_encryption_entry))
    file = secret_file(AuthServerSettings, FIELD)
    name = f"{setting_name(AuthServerSettings, FIELD)}: the file {file}"
    if settings.key_encryption_key is None:
        raise SystemExit(f"{name} is missing: a Fernet key, or several, one a line")
    encryption = KeyEncryption(_in_the_file(file, settings.key_encryption_key), name)
    try:
        encryption.read()
    except KeyEncryptionUnreadableError as error:
        raise SystemExit(str(error)) from error
    return encryption


def _in_the_file(file: Path, given: SecretStr) -> Source:
    """Read the file each time; settings that were given without one are what they are."""
    return partial(file.read_text, "utf-8") if file.exists() else given.get_secret_value


def _in_the_vault(settings: AuthServerSettings, entry: str) -> tuple[Source, str]:
    vault, field = open_vault(settings), settings.key_encryption_field

    def read() -> str:
        fields = vault.read(entry)
        if field not in fields:
            raise VaultError(f"the entry has no field {field!r}")
        return fields[field]

    name = f"{setting_name(AuthServerSettings, 'key_encryption_entry')}: the vault's entry {entry}"
    return read, name


def _opens(key: Fernet, encrypted: str) -> bool:
    try:
        key.decrypt(encrypted)
    except InvalidToken:
        return False
    return True
