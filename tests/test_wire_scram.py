"""SCRAM-SHA-256: the RFC's own example, proofs, forms, and what does not tell who is a user."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from golden.scram import ScramClient
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import AuthenticationFailed, BadCommand
from gateway.wire.scram import MESSAGE_OCTETS, ScramServer, Verifier, verifier

SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
PENCIL = verifier("pencil", SALT, 4096)
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO" + NONCE.encode() + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="


def server(nonce: str = NONCE) -> ScramServer:
    return ScramServer(lambda user: PENCIL, nonce)


def test_the_example_of_rfc_7677_section_3() -> None:
    exchange = server()
    challenge = b"r=rOprNGfwEbeRWgbNEkqO" + NONCE.encode() + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert exchange.first(FIRST) == challenge
    assert exchange.user == "user"
    assert exchange.final(FINAL) == b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30),
    st.sampled_from(["n,,", "y,,"]),
)
def test_any_user_name_and_both_words_on_channel_binding(user: str, header: str) -> None:
    client, exchange = ScramClient(user, "pencil", header=header), server("nonce")
    assert exchange.final(client.final(exchange.first(client.first()))) == client.signature
    assert exchange.user == user


def test_another_password_is_refused() -> None:
    client, exchange = ScramClient("user", "pen"), server()
    final = client.final(exchange.first(client.first()))
    with pytest.raises(AuthenticationFailed):
        exchange.final(final)


@given(st.integers(0, len(FINAL) - 1), st.integers(1, 255))
def test_no_octet_of_the_final_message_can_be_changed(at: int, by: int) -> None:
    exchange = server()
    exchange.first(FIRST)
    changed = FINAL[:at] + bytes([FINAL[at] ^ by]) + FINAL[at + 1 :]
    with pytest.raises((AuthenticationFailed, BadCommand)):
        exchange.final(changed)


@pytest.mark.parametrize(
    "header", ["p=tls-exporter,,", "n,a=somebody,", "p=tls-server-end-point,a=user,"]
)  # fmt: skip
def test_channel_binding_and_acting_for_others_are_refused(header: str) -> None:
    with pytest.raises(AuthenticationFailed):
        server().first(ScramClient("user", "pencil", header=header).first())


def test_acting_for_oneself_is_no_matter() -> None:
    client, exchange = ScramClient("user", "pencil", header="n,a=USER,"), server()
    assert exchange.final(client.final(exchange.first(client.first()))) == client.signature


def test_the_header_that_was_sent_is_the_header_that_is_signed() -> None:
    """Somebody between the two who took channel binding away is noticed (RFC 5802 section 6)."""
    exchange = server()
    client = ScramClient("user", "pencil")
    challenge = exchange.first(client.first())
    client.header = "y,,"
    with pytest.raises(AuthenticationFailed):
        exchange.final(client.final(challenge))


@pytest.mark.parametrize(
    "message",
    [
        b"", b"n,,", b"n=user,r=x", b"n,,n=,r=x", b"n,,n=user,r=", b"n,,r=x,n=user", b"x,,n=user,r=x",
        b"n,,n=us=er,r=x",
        b"n,,n=us=2cer,r=x", b"n,,n=user,r=a b", b"n,,n=user,r=\xc3\xa4", b"n,,m=ext,n=user,r=x", b"n,,n=user,r=x,",
        b"n,,n=user,r=x,1=y", b"n,,n=\xff,r=x", b"n,,n=us\0er,r=x", b"n,a=,n=user,r=x", b"n,,n=user,r=x\r\n",
        b"n,,n=user,r=" + b"x" * MESSAGE_OCTETS,
    ],
)  # fmt: skip
def test_malformed_first_messages(message: bytes) -> None:
    with pytest.raises(BadCommand):
        server().first(message)


@pytest.mark.parametrize(
    "message",
    [b"", b"c=biws", b"c=biws,r=x", b"c=biws,r=x,p=", b"r=x,c=biws,p=YQ==", b"c=!,r=x,p=YQ==", b"c=biws,r=x,p=YQ=,"],
)  # fmt: skip
def test_malformed_final_messages(message: bytes) -> None:
    exchange = server()
    exchange.first(FIRST)
    with pytest.raises(BadCommand):
        exchange.final(message)


@pytest.mark.parametrize("extra", [",a=b", ",x=y,z=1=2"])
def test_extensions_that_need_not_be_known_are_passed_over(extra: str) -> None:
    client, exchange = ScramClient("user", "pencil", extra=extra), server()
    assert exchange.final(client.final(exchange.first(client.first()))) == client.signature


def test_a_short_proof_is_wrong_and_no_fault() -> None:
    exchange = server()
    exchange.first(FIRST)
    with pytest.raises(AuthenticationFailed):
        exchange.final(FINAL[: FINAL.rindex(b",p=")] + b",p=" + b64encode(b"short"))


def test_verifiers_as_text() -> None:
    text = str(PENCIL)
    assert text.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$") and " " not in text
    assert Verifier.parse(text) == PENCIL


@pytest.mark.parametrize(
    "text",
    ["", "SCRAM-SHA-256$4096:YQ==$YQ==:YQ==", "SCRAM-SHA-1$4096:YQ==$x:y", str(PENCIL).replace("4096", "4095"),
     str(PENCIL).replace("4096", "65537"),
     str(PENCIL) + "=", str(PENCIL).replace(":W22ZaJ0SNY7soEsUEjb6gQ==", ":")],
)  # fmt: skip
def test_what_is_no_verifier(text: str) -> None:
    with pytest.raises(ValueError, match=r"verifier|base64|padding|Excess|Incorrect"):
        Verifier.parse(text)


def test_a_password_is_prepared() -> None:
    assert verifier("I\u00adX", SALT, 4096) == verifier("IX", SALT, 4096)
    with pytest.raises(ValueError, match="character"):
        verifier("bell\x07", SALT, 4096)
