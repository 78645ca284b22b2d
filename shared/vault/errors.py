"""What can go wrong with a vault, whichever it is."""


class VaultError(Exception):
    """The vault cannot be read or written; the text says why, without any field's value."""


class EntryNotFoundError(VaultError):
    """The vault answers, and has no such entry."""
