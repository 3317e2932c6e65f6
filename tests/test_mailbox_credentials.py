"""Passwords and verifiers of local users: one string each, changed together; nobody learns who is a user."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from gateway.core.errors import AuthenticationFailed
from gateway.mailbox.credentials import Credentials, hash_password, scram_of
from gateway.wire.scram import ITERATIONS, Verifier, verifier

EASY = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
SECRET = b"of this installation"


def entry(password: str, *, scram: bool = True, iterations: int = 4096) -> str:
    hashed = EASY.hash(password)
    return f"{hashed} {verifier(password, b'sixteen octets..', iterations)}" if scram else hashed


@pytest.fixture
def opened() -> Iterator[list[Credentials]]:
    made: list[Credentials] = []
    yield made
    for credentials in made:
        credentials.close()


async def test_a_password_is_checked_against_the_hash_beside_a_verifier(opened: list[Credentials]) -> None:
    credentials = Credentials({"alice": entry("right")})
    opened.append(credentials)
    assert await credentials.check(" Alice ", "right") == "alice"
    with pytest.raises(AuthenticationFailed):
        await credentials.check("alice", "wrong")


async def test_names_and_passwords_are_prepared(opened: list[Credentials]) -> None:
    credentials = Credentials({"J\u00fcrgen": entry("p\u00e4ss IX")})
    opened.append(credentials)
    assert await credentials.check("ju\u0308rgen", "pa\u0308ss\u00a0\u2168") == "j\u00fcrgen"


def test_scram_only_where_everybody_has_a_verifier(opened: list[Credentials]) -> None:
    both = {"alice": entry("a"), "bob": entry("b")}
    opened += [
        Credentials(both), Credentials({**both, "carol": entry("c", scram=False)}), Credentials({}),
    ]  # fmt: skip
    assert [credentials.scram for credentials in opened] == [True, False, False]


def test_a_verifier_of_somebody_and_of_nobody_look_alike_and_last(opened: list[Credentials]) -> None:
    opened += [Credentials({"alice": entry("a", iterations=5000)}, SECRET) for _ in range(2)]
    first, second = opened
    known, unknown = first.verifier("ALICE"), first.verifier("mallory")
    assert known == scram_of(entry("a", iterations=5000))
    assert (unknown.iterations, len(unknown.salt)) == (known.iterations, len(known.salt))
    assert unknown == second.verifier("Mallory ") != first.verifier("malory")
    other = Credentials({"alice": entry("a")}, b"another installation")
    opened.append(other)
    assert other.verifier("mallory").salt != unknown.salt


def test_what_is_written_into_the_configuration() -> None:
    hashed = hash_password("pencil")
    found = scram_of(hashed)
    assert isinstance(found, Verifier) and found.iterations == ITERATIONS and len(found.salt) == 16
    assert found == verifier("pencil", found.salt)
    assert scram_of(hash_password("pencil", scram=False)) is None
    assert scram_of(hash_password("bell\x07")) is None
    with pytest.raises(ValueError, match="verifier"):
        scram_of("$argon2id$x nonsense")
