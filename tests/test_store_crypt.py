"""Sealing: what goes in comes out, only in its own place and only with its key."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.crypt import Vault, derive
from gateway.store.errors import Damaged

VAULT = Vault(b"k" * 32)


@given(st.binary(max_size=2000), st.text(max_size=20))
def test_what_is_sealed_opens_in_its_place_only(data: bytes, context: str) -> None:
    sealed = VAULT.seal(data, context)
    assert VAULT.open(sealed, context) == data
    with pytest.raises(Damaged):
        VAULT.open(sealed, context + "x")
    with pytest.raises(Damaged):
        Vault(b"j" * 32).open(sealed, context)


@given(st.binary(min_size=1, max_size=200), st.integers(min_value=0), st.integers(0, 7))
def test_any_changed_bit_is_noticed(data: bytes, at: int, bit: int) -> None:
    sealed = bytearray(VAULT.seal(data, "c"))
    sealed[at % len(sealed)] ^= 1 << bit
    with pytest.raises(Damaged):
        VAULT.open(bytes(sealed), "c")


@pytest.mark.parametrize("octets", [b"", b"x" * 11, b"x" * 12, b"x" * 20])
def test_octets_too_short_to_be_sealed_are_damaged(octets: bytes) -> None:
    with pytest.raises(Damaged):
        VAULT.open(octets, "c")


def test_headers_shrink_and_noise_does_not_grow_much() -> None:
    header = b"Received: from mail.example.com by mx.example.org with ESMTPS\r\n" * 40
    assert len(VAULT.seal(header, "c")) < len(header) // 4
    noise = os.urandom(5000)
    assert len(VAULT.seal(noise, "c")) <= len(noise) + 29


def test_sealing_twice_gives_different_octets_and_addresses_are_equal_for_equal_content() -> None:
    assert VAULT.seal(b"same", "c") != VAULT.seal(b"same", "c")
    assert VAULT.address(b"same") == VAULT.address(b"same") != VAULT.address(b"other")
    assert VAULT.address(b"same") != Vault(b"j" * 32).address(b"same")
    assert len(VAULT.address(b"")) == 32


def test_keys_of_different_purposes_differ() -> None:
    assert derive(b"k" * 32, "seal") != derive(b"k" * 32, "address")
    with pytest.raises(ValueError):
        Vault(b"short")
