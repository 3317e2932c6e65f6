"""The `[[relay]]` blocks of the configuration: `gateway.relays`."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, from_values, load
from gateway.relays import RelaySection, doors
from gateway.smtp.door import Patterns, Quota, Terms

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"
ACCOUNT = f'[[accounts]]\nuser = "Alice@example.com"\npassword_hash = "{HASH}"\n'  # three lines
BLOCK = '[[relay]]\nport = 2525\nnetworks = ["192.168.1.0/24"]\naccount = "alice@example.com"\n'


def loaded(text: str) -> Config:
    return from_values(tomllib.loads(text), origin="gateway.toml", text=text)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    return str(caught.value)


def test_a_network_of_devices() -> None:
    (relay,) = loaded(
        ACCOUNT + BLOCK + 'per_hour = 5\nsenders = ["*@x"]\nusers = { Scan = "alice@example.com" }\n'
    ).relay
    assert relay.terms() == Terms(
        account="alice@example.com", login=False, users={"scan": "alice@example.com"}, senders=Patterns("*@x"),
        quota=Quota("127.0.0.1:2525 192.168.1.0/24", 5, 0),
    )  # fmt: skip


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "::/0", "0.0.0.0/1", "8.0.0.0/8", "192.0.0.0/8", "2001:db8::/32", "fc00::/6"]
)
def test_an_open_relay_is_no_configuration(network: str) -> None:
    text = ACCOUNT + BLOCK.replace("192.168.1.0/24", network)
    assert refusal(text).startswith(f"gateway.toml:6: relay.0.networks: {network} is too wide")


@pytest.mark.parametrize(
    "network", ["10.0.0.0/8", "127.0.0.1", "192.0.2.0/24", "fd00::/8", "2001:db8:1::/48", "fe80::/10"]
)
def test_private_networks_and_small_ones_are_some(network: str) -> None:
    assert loaded(ACCOUNT + BLOCK.replace("192.168.1.0/24", network)).relay


def test_with_a_login_any_network_may_come() -> None:
    (relay,) = loaded(
        '[[relay]]\nlogin = "required"\nnetworks = ["0.0.0.0/0", "::/0"]\nlogin_in_clear = true\n'
    ).relay
    assert relay.terms() == Terms(login_in_clear=True)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('networks = ["192.168.1.7/24"]', "6: relay.0.networks: 192.168.1.7/24 is no network"),
        ("networks = []", "6: relay.0.networks"),
        ('networks = ["printer"]', "6: relay.0.networks: printer is no network"),
    ],
)
def test_networks_that_are_none(line: str, complaint: str) -> None:
    assert f"gateway.toml:{complaint}" in refusal(
        ACCOUNT + BLOCK.replace('networks = ["192.168.1.0/24"]', line)
    )


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ('send_as = "printer"', "8: relay.0.send_as"),
        ("per_hour = -1", "8: relay.0.per_hour"),
        ("recipients = []", "8: relay.0.recipients"),
        ('users = { x = "bob@example.com" }', "8: relay.0.users: x: there is no such user"),
        ('password = "x"', "8: relay.0.password: unknown key"),
        (BLOCK.replace("192.168.1.0/24", "10.1.0.0/16").replace("alice", "bob"), "11: relay.1.account: needs the user"),
        (BLOCK, "10: relay.1.networks: 192.168.1.0/24 stands in two blocks"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(more: str, complaint: str) -> None:
    assert f"gateway.toml:{complaint}" in refusal(ACCOUNT + BLOCK + more + "\n")


def test_a_block_needs_its_account_and_its_networks() -> None:
    assert "relay.0.networks: this key is needed" in refusal("[[relay]]\n")
    assert "relay.0.account: needs the user" in refusal('[[relay]]\nnetworks = ["10.0.0.0/8"]\n')


def test_blocks_of_one_port_share_a_listener() -> None:
    wide = RelaySection(networks=("10.0.0.0/8",), account="a", port=2525)
    narrow = RelaySection(networks=("10.1.0.0/16",), account="b", port=2525)
    other = RelaySection(networks=("10.0.0.0/8",), account="c", port=25)
    found = doors([wide, narrow, other])
    assert list(found) == [("127.0.0.1", 2525), ("127.0.0.1", 25)]
    door = found["127.0.0.1", 2525]
    told = [
        door.terms(address)
        for address in ("10.1.2.3", "10.2.3.4", "::ffff:10.1.2.3", "192.0.2.1", "fe80::1%eth0", "")
    ]
    assert [terms.account if terms else None for terms in told] == ["b", "a", "b", None, None, None]


def test_the_example_shows_every_key() -> None:
    example = Path(__file__).parents[1] / "conf" / "example.toml"
    (block,) = tomllib.loads(example.read_text())["relay"]
    assert set(block) == set(RelaySection.model_fields)
    assert load(example).relay
