import pytest

from client_service.findings import MOST_LISTED, Finding, Findings, Kind


def changed(after: int, until: int) -> Finding:
    return Finding(Kind.CHANGED, "acc", after, until, expected=until - after, found=1)


def test_neighbours_that_were_changed_are_one_finding() -> None:
    findings = Findings().plus(changed(0, 500), changed(500, 1000), changed(1500, 2000))

    assert findings.listed == (
        Finding(Kind.CHANGED, "acc", 0, 1000, expected=1000, found=2),
        changed(1500, 2000),
    )


def test_of_very_many_findings_the_first_are_listed_and_the_others_counted() -> None:
    many = [changed(number, number + 1) for number in range(0, 2 * MOST_LISTED + 6, 2)]

    findings = Findings().plus(*many)

    assert findings.listed == tuple(many[:MOST_LISTED])
    assert findings.unlisted == 3


@pytest.mark.parametrize(
    ("finding", "sentence"),
    [
        (changed(4, 5), "transaction 5 is not the one read before: the sum was 1, and now is 1"),
        (
            changed(500, 1000),
            "transactions 501 to 1000 are not those read before: the sum was 500, and now is 1",
        ),
        (
            Finding(Kind.DIFFERENCE, "acc", 4, 5, expected=7, found=3),
            "transaction 5 comes to 3, and should to 7",
        ),
        (
            Finding(Kind.MISSING, "acc", 4, 5, expected=5, found=6),
            "transaction 5 is missing: 6 came after 4",
        ),
        (
            Finding(Kind.MISSING, "acc", 4, 9, expected=5, found=None),
            "transactions 5 to 9 are missing: nothing came after 4",
        ),
    ],
    ids=["one changed", "many changed", "a difference", "one missing", "many missing"],
)
def test_a_finding_is_told_in_a_sentence(finding: Finding, sentence: str) -> None:
    assert str(finding) == sentence
