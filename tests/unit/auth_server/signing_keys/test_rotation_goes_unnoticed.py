"""Whatever happens in whatever order, resource servers never stumble over a rotation.

The model: replicas with clocks, settings and outages of their own, restarted with other settings;
resource servers that keep the JWKS for its `max-age` and ask nobody meanwhile.
"""

from dataclasses import dataclass

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from joserfc.jws import extract_compact
from sqlalchemy.exc import SQLAlchemyError

from auth_server.settings import SigningAlgorithm
from auth_server.signing_keys.by_hand import add_key, rotate
from auth_server.signing_keys.change import times_of
from auth_server.signing_keys.encryption import KeysUnavailableError
from auth_server.signing_keys.life import leaves_at
from tests.unit.auth_server.signing_keys.replicas import Replica, SharedKeys, Wanted

REPLICAS, RESOURCE_SERVERS = 2, 2
SKEW = 10  # of any two clocks, at most
DAY = 86400

wanted = st.builds(
    Wanted,
    algorithm=st.sampled_from(["RS256", "ES256", "PS256"]),
    max_age=st.sampled_from([0, 1, 60, 300, 3600, DAY]),
    reload=st.sampled_from([1, 5, 300]),
    skew=st.sampled_from([SKEW, 300]),
    outage=st.sampled_from([1, 60, 3600]),
    active_days=st.sampled_from([0, 1, 90]),
    lifetime=st.sampled_from([1, 300, 3600]),
)
one_replica = st.integers(0, REPLICAS - 1)
one_resource_server = st.integers(0, RESOURCE_SERVERS - 1)
seconds = st.one_of(
    st.sampled_from([0.5, 1, 5, 10, 60, 300, 310, 3600, 7000, 9000, DAY, 100 * DAY]),
    st.integers(1, 2 * DAY),
)


@dataclass
class ResourceServer:
    """Takes tokens by the keys that it keeps."""

    clock_ahead: float
    leeway: int
    kids: frozenset[str] = frozenset()
    kept_until: float = 0


@dataclass(frozen=True)
class Token:
    kid: str
    exp: int


class Rotation(RuleBasedStateMachine):
    @initialize(
        wanted=st.lists(wanted, min_size=REPLICAS, max_size=REPLICAS),
        ahead=st.lists(st.floats(0, SKEW), min_size=REPLICAS, max_size=REPLICAS),
        behind=st.lists(st.floats(0, SKEW), min_size=RESOURCE_SERVERS, max_size=RESOURCE_SERVERS),
        leeway=st.sampled_from([0, 5, 300]),
    )
    def start(
        self, wanted: list[Wanted], ahead: list[float], behind: list[float], leeway: int
    ) -> None:
        self.shared = SharedKeys()
        pairs = zip(wanted, ahead, strict=True)
        self.replicas = [Replica(self.shared, one, clock) for one, clock in pairs]
        self.resource_servers = [ResourceServer(clock, leeway) for clock in behind]
        self.tokens: list[Token] = []

    @rule(seconds=seconds)
    def time_passes(self, seconds: float) -> None:
        self.shared.time += seconds

    @rule(place=st.integers(0, 1000), off_by=st.sampled_from([-1, -0.5, 0, 0.5]))
    def time_passes_to_where_something_changes(self, place: int, off_by: float) -> None:
        """Random times seldom come near a limit; these stand right before and behind one."""
        times = times_of(self.shared.rows)
        at = [key.known_from for key in times]
        at += [key.active_from for key in times if key.active_from]
        at += [end for key in times if (end := leaves_at(key, times))]
        at += [token.exp + one.leeway for token in self.tokens for one in self.resource_servers]
        ahead = [one.clock_ahead for one in self.replicas]
        ahead += [one.clock_ahead for one in self.resource_servers]
        changes = [moment - clock for moment in at for clock in (0.0, *ahead)]
        changes += [one.kept_until for one in self.resource_servers]
        changes += [end for one in self.replicas for end in one.limits()]
        to_come = sorted({when for when in changes if when + off_by > self.shared.time})
        if to_come:
            self.shared.time = to_come[place % len(to_come)] + off_by

    @rule(number=one_replica)
    def a_token_is_issued(self, number: int) -> None:
        """Every resource server whose copy may still be kept knows the key."""
        replica = self.replicas[number]
        try:
            token = replica.keys.sign(replica.wanted.algorithm, "at+jwt", {})
        except (SQLAlchemyError, KeysUnavailableError):
            return
        kid = str(extract_compact(token.encode()).headers()["kid"])
        warm = [one for one in self.resource_servers if self.shared.time < one.kept_until]
        assert [one for one in warm if kid not in one.kids] == []
        self.tokens.append(Token(kid, int(replica.now()) + replica.wanted.lifetime))

    @rule(number=one_replica, asking=one_resource_server)
    def a_resource_server_fetches_the_keys(self, number: int, asking: int) -> None:
        """What it gets holds the key of every token that it would still take."""
        one, replica = self.resource_servers[asking], self.replicas[number]
        try:
            jwks, max_age = replica.keys.jwks()
        except (SQLAlchemyError, KeysUnavailableError):
            return
        one.kids = frozenset(str(jwk["kid"]) for jwk in jwks)
        one.kept_until = self.shared.time + max_age
        now = self.shared.time + one.clock_ahead
        alive = {token.kid for token in self.tokens if now < token.exp + one.leeway}
        assert alive - one.kids == set()

    @rule(number=one_replica, wanted=wanted)
    def a_replica_starts_again_with_other_settings(self, number: int, wanted: Wanted) -> None:
        self.replicas[number].start(wanted)

    @rule(number=one_replica)
    def a_replica_is_cut_off_from_the_database_or_reads_slowly(self, number: int) -> None:
        self.replicas[number].store.cut_off = True

    @rule(number=one_replica)
    def the_database_is_back(self, number: int) -> None:
        self.replicas[number].store.cut_off = False

    @rule(number=one_replica, algorithm=st.sampled_from(["RS256", "ES256"]))
    def an_operator_rotates(self, number: int, algorithm: SigningAlgorithm) -> None:
        store = self.replicas[number].store
        if not store.cut_off and self.shared.rows:
            rotate(store, algorithm)

    @rule(number=one_replica, algorithm=st.sampled_from(["RS256", "ES256"]))
    def an_operator_brings_a_key(self, number: int, algorithm: SigningAlgorithm) -> None:
        store = self.replicas[number].store
        if not store.cut_off and self.shared.rows:
            add_key(store, algorithm, store.make_key(algorithm))


TestRotation = Rotation.TestCase
TestRotation.settings = hypothesis_settings(max_examples=150, stateful_step_count=40, deadline=None)


def kid_signed_by(replica: Replica) -> str:
    token = replica.keys.sign(replica.wanted.algorithm, "at+jwt", {})
    return str(extract_compact(token.encode()).headers()["kid"])


def kids_from(replica: Replica) -> set[str]:
    return {jwk["kid"] for jwk in replica.keys.published()}


def with_a_spare_key_that_is_new(*replicas: Replica) -> str:
    """Let ``replicas`` run, rotate once by the first; return the `kid` of the spare made then."""
    for replica in replicas:
        replica.keys.published()
    rotate(replicas[0].store, "RS256")
    return rotate(replicas[0].store, "RS256").kid


@pytest.mark.parametrize(
    ("asked_after", "max_age"), [(0, 60), (29.5, 60), (30, 60), (30.5, 59), (89, 1), (95, 0)]
)
def test_every_copy_without_a_key_ends_before_it_signs(asked_after: float, max_age: int) -> None:
    """The copy comes from a process that hasn't read the new key, or cannot; in the worst case the
    clock of the one that signs is ahead of the maker's.
    """
    shared = SharedKeys()
    wanted = Wanted(max_age=60, reload=30, skew=10)
    maker, ahead, slow = (Replica(shared, wanted, clock) for clock in (0.0, 10.0, 0.0))
    kid = with_a_spare_key_that_is_new(maker, ahead, slow)
    slow.store.cut_off = True
    started = shared.time

    shared.time += asked_after
    jwks, kept = slow.keys.jwks()
    shared.time = max(shared.time, min(shared.time + kept, started + 90)) - 0.5
    before = kid_signed_by(ahead)
    shared.time = started + 90

    assert (kept, kid in {jwk["kid"] for jwk in jwks}) == (max_age, False)
    assert (before == kid, kid_signed_by(ahead) == kid) == (asked_after > 90, True)


def test_a_key_is_published_for_as_long_as_its_last_token_is_taken() -> None:
    """The worst of everything that settings allow: the last token comes from a process that has
    not heard of the rotation, and clocks are apart.
    """
    shared = SharedKeys()
    worst = Wanted(reload=300, outage=3600, lifetime=3600, skew=300)
    rotating, signing, dropping = (Replica(shared, worst, ahead) for ahead in (0.0, 300.0, 300.0))
    for replica in (rotating, signing):
        replica.keys.published()
    signing.store.cut_off = True
    rotate(rotating.store, "RS256")

    shared.time += 300 + 3600
    last = kid_signed_by(signing)
    taken_until = int(signing.now()) + 3600 + 300  # by a clock that is not ahead
    shared.time = taken_until - 1
    assert last in kids_from(dropping)

    shared.time += 600
    assert last not in kids_from(dropping)


def test_a_process_that_cannot_read_the_keys_for_too_long_signs_no_more() -> None:
    shared = SharedKeys()
    replica = Replica(shared, Wanted(reload=5, outage=60), 0)
    kid = kid_signed_by(replica)
    replica.store.cut_off = True

    shared.time += 65
    assert kid_signed_by(replica) == kid

    shared.time += 1
    with pytest.raises(KeysUnavailableError, match="too long"):
        kid_signed_by(replica)
