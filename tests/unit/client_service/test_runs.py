from client_service.runs import timestamp


def test_a_moment_is_told_in_utc() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00+00:00"
    assert timestamp(None) is None
