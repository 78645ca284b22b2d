from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.comparison import OURS, in_rounds
from bench.launch import Ask, CannotRunError, Launch, Peer
from bench.process import ServerError


def peer(name: str, *algorithms: str) -> Peer:
    asks = tuple(Ask(algorithm, "/token") for algorithm in algorithms)
    return Peer(name, lambda folder: Launch((), folder, 0, asks, versions=f"{name} 1.0"))


def peer_that_is_not_installed(_: Path) -> Launch:
    raise CannotRunError("it is not installed")


def one_round(peer: Peer, launch: Launch, number: int, _: Path) -> Iterator[str]:
    for ask in launch.asks:
        if ask.name == "fails":
            raise ServerError("it does not start")
        yield f"{number} {peer.name} {ask.name}"


def test_every_server_has_its_turn_in_every_round(capsys: pytest.CaptureFixture[str]) -> None:
    found, versions = in_rounds(
        [peer(OURS, "RS256"), peer("a", "RS256", "ES256")], 2, {}, one_round
    )

    assert found == ["1 ours RS256", "2 ours RS256"] + [
        f"{number} a {algorithm}" for number in (1, 2) for algorithm in ("RS256", "ES256")
    ]
    assert versions == {OURS: "ours 1.0", "a": "a 1.0"}
    assert capsys.readouterr().out.splitlines() == [
        "round 1: ours RS256",
        "round 1: a RS256 and ES256",
        "round 2: a RS256 and ES256",
        "round 2: ours RS256",
    ]


def test_a_server_that_does_not_start_is_left_out_with_all_that_was_found_of_it() -> None:
    left_out: dict[str, str] = {}
    peers = [
        peer(OURS, "RS256"),
        peer("a", "RS256"),
        peer("a", "fails"),
        Peer("b", peer_that_is_not_installed),
    ]

    found, versions = in_rounds(peers, 2, left_out, one_round)

    assert found == ["1 ours RS256", "2 ours RS256"]
    assert versions == {OURS: "ours 1.0"}
    assert left_out == {"b": "it is not installed", "a": "it does not start"}
