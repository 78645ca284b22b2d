"""RFC 6750 (and RFC 9068 §6) at the client: how it spends its token."""

from tests.conformance.client_runs import (
    ACCESS_TOKEN,
    ACCOUNT_PATH,
    ID_TOKEN,
    TRANSACTIONS_PATH,
    ClientUnderTest,
    Reply,
    Surroundings,
)


def test_rfc6750_2_1_the_token_is_sent_in_the_authorization_header(
    good_run: Surroundings,
) -> None:
    headers = {tuple(request.all_of("Authorization")) for request in good_run.bank.requests}

    assert headers == {(f"Bearer {ACCESS_TOKEN}",)}


def test_rfc6750_2_the_token_is_sent_in_no_other_way(good_run: Surroundings) -> None:
    elsewhere = [
        (request.target, request.body)
        for request in good_run.bank.requests
        if request.body or "access_token" in request.target or ACCESS_TOKEN in request.target
    ]

    assert elsewhere == []


def test_oauth2_1_7_1_3_7_no_url_has_a_token(good_run: Surroundings) -> None:
    targets = [request.target for request in good_run.all_requests]

    assert [target for target in targets if ACCESS_TOKEN[:20] in target] == []


def test_rfc9068_6_the_token_is_not_looked_into(good_run: Surroundings) -> None:
    assert good_run.bank.requests != []  # it was no JWT, and longer than most


def test_rfc9068_4_the_id_token_is_not_sent_to_the_bank(good_run: Surroundings) -> None:
    sent = [request for request in good_run.bank.requests if ID_TOKEN in str(request.headers)]

    assert sent == []


def test_rfc6750_3_1_a_refused_token_is_renewed_once_and_the_request_repeated_once(
    client_under_test: ClientUnderTest, around: Surroundings
) -> None:
    challenge = {"WWW-Authenticate": 'Bearer realm="x", error="invalid_token"'}
    around.bank.replies[ACCOUNT_PATH] = Reply(status=401, headers=challenge)

    run = client_under_test.run(around)

    assert run.error == "401 invalid_token"
    assert (len(around.token_requests), len(around.bank.requests)) == (2, 2)


def test_rfc6750_3_1_a_request_refused_for_its_scope_is_not_repeated(
    client_under_test: ClientUnderTest, around: Surroundings
) -> None:
    challenge = {"WWW-Authenticate": 'Bearer error="insufficient_scope", scope="Read"'}
    around.bank.replies[ACCOUNT_PATH] = Reply(status=403, headers=challenge)

    run = client_under_test.run(around)

    assert run.error == "403 insufficient_scope"
    assert (len(around.token_requests), len(around.bank.requests)) == (1, 1)


def test_rfc6750_5_3_the_token_follows_no_redirect(
    client_under_test: ClientUnderTest, around: Surroundings
) -> None:
    location = {"Location": around.elsewhere.url + ACCOUNT_PATH}
    around.bank.replies[ACCOUNT_PATH] = Reply(status=307, headers=location)

    run = client_under_test.run(around)

    assert (run.error is None, around.elsewhere.requests) == (False, [])


def test_rfc6750_5_3_the_token_follows_no_link_to_another_server(
    client_under_test: ClientUnderTest, around: Surroundings
) -> None:
    account = dict(around.bank.replies[ACCOUNT_PATH].document)
    account["transactions"] = around.elsewhere.url + TRANSACTIONS_PATH
    around.bank.replies[ACCOUNT_PATH] = Reply(account)

    run = client_under_test.run(around)

    assert (run.error is None, around.elsewhere.requests) == (False, [])
