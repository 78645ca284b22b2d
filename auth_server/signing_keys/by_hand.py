"""What an operator does to the signing keys by hand; each is one change, all or nothing."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from auth_server.jwk import PrivateKey
from auth_server.models import SigningKey
from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys.change import ERASED, Change
from auth_server.signing_keys.life import KeyTimes, State, in_order, is_published, spares, state
from auth_server.signing_keys.plan import NewKey, activation, changes_due, first_key, unknown_until
from auth_server.signing_keys.store import KeyStore

log = logging.getLogger(__name__)


class UnknownKeyError(Exception):
    """No published key has this `kid`."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What became of keys that were revoked or lost.

    Copies of the JWKS as it was may be kept until ``copies_until``; ``signing`` are the keys that
    sign now in the place of others.
    """

    kids: tuple[str, ...]
    copies_until: int
    signing: tuple[KeyTimes, ...]


def add_key(store: KeyStore, algorithm: SigningAlgorithm, key: PrivateKey) -> SigningKey:
    """Publish ``key`` and let it sign as soon as it may; raises KeyExistsError."""
    with store.changing() as change:
        return change.insert(first_key(change.times, algorithm, store.rules, change.now), key)


def rotate(store: KeyStore, algorithm: SigningAlgorithm) -> SigningKey:
    """Let the spare key of ``algorithm`` sign as soon as it may, and make another spare.

    Where that is under way already nothing is done: its key is returned.
    """
    with store.changing() as change:
        if under_way := _upcoming(change, algorithm):
            return change.row(under_way[0].kid)
        if spare := spares(change.times, algorithm):
            kid, active_from = activation(spare[0], change.now)
            change.activate(change.row(kid), active_from)
        else:
            new = first_key(change.times, algorithm, store.rules, change.now)
            kid = change.make(new).kid
        _see_to_the_rest(change)
        return change.row(kid)


def revoke(store: KeyStore, kids: Collection[str]) -> Replaced:
    """Take keys out of the JWKS and let them sign no more, at once; spare keys take over.

    Raises UnknownKeyError where one of ``kids`` is not published; then nothing is done.
    """
    with store.changing() as change:
        published = {key.kid for key in change.times if is_published(key, change.times, change.now)}
        if unknown := sorted(set(kids) - published):
            raise UnknownKeyError(f"no published key has the kid {unknown[0]!r}")
        return _replaced(change, lambda row, _: row.kid in kids, _revoke)


def replace_lost(store: KeyStore) -> Replaced:
    """Replace the keys that no key-encryption key opens; those that signed stay published.

    Tokens that they signed go on being taken: they are lost, and not known to anybody.
    """

    def is_lost(row: SigningKey, its_state: State) -> bool:
        encrypted = row.encrypted_private_jwk
        is_due = its_state != "revoked" and encrypted != ERASED
        return is_due and store.encryption.rests_under(encrypted) == "none"

    with store.changing() as change:
        store.encryption.read()
        return _replaced(change, is_lost, _give_up)


def reencrypt(store: KeyStore) -> int:
    """Encrypt with the first key-encryption key what rests under another; return how many that was.

    Raises KeysCannotBeOpenedError where one rests under none; then nothing is done.
    """
    with store.changing() as change:
        store.encryption.read()
        rows = [row for row in change.rows if row.encrypted_private_jwk != ERASED]
        opened = {row.kid: store.encryption.decrypt(row.encrypted_private_jwk) for row in rows}
        stale = [
            r for r in rows if store.encryption.rests_under(r.encrypted_private_jwk) != "first"
        ]
        for row in stale:
            row.encrypted_private_jwk = store.encryption.encrypt(opened[row.kid])
        return len(stale)


def _replaced(
    change: Change,
    is_meant: Callable[[SigningKey, State], bool],
    end: Callable[[SigningKey, State, int], None],
) -> Replaced:
    """End each key that ``is_meant``, let others take over from those that signed, say which."""
    until = unknown_until(change.times, change.rules, change.now)
    states = {key.kid: state(key, change.times, change.now) for key in change.times}
    meant = [row for row in change.rows if is_meant(row, states[row.kid])]
    for row in meant:
        end(row, states[row.kid], int(change.now))
    kids = tuple(row.kid for row in meant)
    signed = [key for key in change.times if key.kid in kids and states[key.kid] == "active"]
    signing = {_take_over(change, key.algorithm) for key in signed}
    _see_to_the_rest(change)
    taking_over = [key for key in change.times if key.kid in signing]
    return Replaced(kids, until, tuple(taking_over))


def _revoke(row: SigningKey, its_state: State, now: int) -> None:
    row.revoked_at = now
    row.encrypted_private_jwk = ERASED
    if its_state == "pending":
        row.active_from = None  # so that it counts as none that has signed
    log.warning("revoked the %s key %s", row.algorithm, row.kid)


def _give_up(row: SigningKey, its_state: State, now: int) -> None:
    if its_state == "pending":
        _revoke(row, its_state, now)
    row.encrypted_private_jwk = ERASED


def _take_over(change: Change, algorithm: SigningAlgorithm) -> str:
    """Let the next key of ``algorithm`` sign now, known everywhere or not; return its `kid`."""
    waiting = [*_upcoming(change, algorithm), *spares(change.times, algorithm)]
    if waiting:
        change.activate(change.row(waiting[0].kid), int(change.now))
        return waiting[0].kid
    known_from = unknown_until(change.times, change.rules, change.now)
    new = NewKey(algorithm, known_from, active_from=int(change.now))
    return change.make(new).kid


def _see_to_the_rest(change: Change) -> None:
    change.apply(changes_due(change.times, change.rules, change.now))


def _upcoming(change: Change, algorithm: SigningAlgorithm) -> list[KeyTimes]:
    """Return the pending keys of which it is decided when they sign, the next first."""
    return [
        key
        for key in in_order(change.times, algorithm)
        if state(key, change.times, change.now) == "pending"
    ]
