from client_service.models import Run
from client_service.runs import run_fields, timestamp


def test_a_moment_is_told_in_utc() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00+00:00"
    assert timestamp(None) is None


def test_a_run_that_does_not_balance_is_told_with_the_difference() -> None:
    run = Run(id="x", started=1.0, balance=10, entry_sum=4)

    result = run_fields(run)["result"]

    assert isinstance(result, dict)
    assert (result["balanced"], result["difference"]) == (False, 6)
