"""What answers mean, for requests that may and may not be repeated."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.graph.errors import GraphError, NotFound, OutcomeUnknown, SignInFailed, Throttled, Unreachable
from gateway.graph.model import MessagePage
from gateway.graph.request import Request, Response
from gateway.graph.verdict import BY_CODE, Again, Lost, error_of, judge

READ = Request(method="GET", template="/x", repeat=True)
ONCE = Request(method="POST", template="/x", expect=frozenset({202}))


def answer(status: int, code: str = "", **headers: str) -> Response:
    body = b'{"error":{"code":"%b"}}' % code.encode() if code else b""
    return Response(status, headers, body)


@pytest.mark.parametrize("code", sorted(BY_CODE))
@pytest.mark.parametrize("spell", [str.lower, str.upper])
def test_codes_decide_in_any_case(code: str, spell: object) -> None:
    assert type(error_of(answer(400, str(spell(code))))) is BY_CODE[code]  # type: ignore[operator]


@given(st.integers(300, 599), st.binary(max_size=200))
@example(502, b'{"error":{"code":"caf\xe9"}}')
@example(502, b'{"error":' * 100_000)
def test_any_refusal_is_a_typed_error(status: int, body: bytes) -> None:
    error = error_of(Response(status, {}, body))
    assert isinstance(error, GraphError)
    assert error.status == status
    assert len(str(error)) < 200


def test_a_code_cannot_smuggle_text() -> None:
    error = error_of(
        Response(400, {}, b'{"error":{"code":"a\\r\\nb <x@y> ' + b"z" * 500 + b'","message":"secret"}}')
    )
    assert "\n" not in str(error) and "@" not in str(error) and "secret" not in str(error)
    assert len(error.code) <= 80


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_error_repeats_reads_only(status: int) -> None:
    verdict = judge(READ, answer(status, "UnknownError", **{"retry-after": "3.5"}))
    assert isinstance(verdict, Again)
    assert isinstance(verdict.error, Unreachable)
    assert verdict.wait == 3.5
    with pytest.raises(OutcomeUnknown):
        judge(ONCE, answer(status, "UnknownError"))


def test_a_lost_answer_repeats_reads_only() -> None:
    assert isinstance(judge(READ, Lost(True, "x")), Again)
    assert isinstance(judge(ONCE, Lost(False, "x")), Again)
    with pytest.raises(OutcomeUnknown):
        judge(ONCE, Lost(True, "x"))


@pytest.mark.parametrize("request_", [READ, ONCE])
def test_throttling_and_old_tokens_repeat_everything(request_: Request) -> None:
    throttled = judge(request_, answer(429, "ApplicationThrottled", **{"retry-after": "2.128"}))
    assert isinstance(throttled, Again)
    assert isinstance(throttled.error, Throttled)
    assert throttled.wait == 2.128
    refused = judge(request_, answer(401, "InvalidAuthenticationToken"))
    assert isinstance(refused, Again)
    assert isinstance(refused.error, SignInFailed)
    assert refused.refresh


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "-3", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_odd_retry_after(text: str) -> None:
    assert answer(429, **{"retry-after": text}).retry_after in {None, 0.0}


def test_success_is_what_was_promised() -> None:
    assert judge(ONCE, answer(202)) == answer(202)
    for status in (200, 201, 204):
        with pytest.raises(OutcomeUnknown):
            judge(ONCE, answer(status))


def test_garbage_under_a_200_is_no_answer() -> None:
    page = Request(method="GET", template="/x", repeat=True, shape=MessagePage)
    latin, deep = b'{"value":[{"id":"\xe9"}]}', b'{"x":' * 100_000
    for body in (b"", b"<html>", b'{"value":[{"id":', b'{"value":3}', b"[]", latin, deep):
        assert isinstance(judge(page, Response(200, {}, body)), Again)


def test_one_odd_item_does_not_hide_its_page() -> None:
    page = Request(method="GET", template="/x", repeat=True, shape=MessagePage)
    body = b'{"value":[{"id":"a","from":{"emailAddress":null},"internetMessageHeaders":[{"name":"X","value":null}]}]}'
    verdict = judge(page, Response(200, {}, body))
    assert isinstance(verdict, Response)
    assert verdict.value.value[0].id == "a"


def test_an_item_not_found_is_believed_at_once() -> None:
    with pytest.raises(NotFound):
        judge(READ, answer(404, "ErrorItemNotFound"))
    assert isinstance(judge(READ, answer(404)), Again)


def test_claims_come_as_json_or_not_at_all() -> None:
    def challenge(text: str) -> str | None:
        return Response(
            401, {"www-authenticate": f'Bearer error="insufficient_claims", claims="{text}"'}, b""
        ).claims

    assert challenge("eyJhIjoxfQ==") == challenge("eyJhIjoxfQ") == '{"a":1}'
    assert challenge("!!") is None
    assert Response(401, {}, b"").claims is None
