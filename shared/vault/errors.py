"""What can go wrong with a vault, whichever it is."""


class VaultError(Exception):
    """The vault cannot be read or written; the text says why, without any field's value."""


class EntryNotFoundError(VaultError):
    """The vault answers, and has no such entry."""


class VaultConflictError(VaultError):
    """The entry's newest version is another than its writer expected; nothing was written."""


class VaultUnreachableError(VaultError):
    """The vault's server does not answer, or not in time, or is not the one that we trust."""


class VaultSealedError(VaultError):
    """The vault's server answers, and hands out nothing until somebody unseals it."""


class VaultLoginRefusedError(VaultError):
    """The vault does not know who we are, or we have nothing to tell it."""


class VaultForbiddenError(VaultError):
    """The vault knows our role, and its policies do not allow what we asked for."""


class VaultThrottledError(VaultError):
    """The vault is asked more often than it allows; later it answers again."""


class VaultAnswerError(VaultError):
    """The vault answered something that we cannot use."""
