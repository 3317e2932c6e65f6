"""Configuration: file, environment, and errors that name the line and the key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gateway.config import ConfigError, from_values, line_of, load

HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    return str(caught.value)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    config = load(write(tmp_path, ""))
    assert (config.imap.port, config.imap.tls_port, config.submission.port) == (143, 993, 587)
    assert config.imap.rfc822_size == "hybrid"
    assert config.accounts == ()


def test_an_unknown_key_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    text = '[graph]\nbase_url = "https://g/v1.0"\n\n[imap]\nprot = 3\n'
    assert "gateway.toml:5: imap.prot: unknown key" in refusal(tmp_path, text)


def test_an_unknown_section_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    assert "gateway.toml:2: imop" in refusal(tmp_path, "\n[imop]\nport = 3\n")


def test_a_wrong_type_names_the_line_of_the_key(tmp_path: Path) -> None:
    assert "gateway.toml:2: imap.port" in refusal(tmp_path, '[imap]\nport = "many"\n')


def test_a_missing_key_of_the_second_account_names_its_table(tmp_path: Path) -> None:
    first = f'[[accounts]]\nuser = "a"\npassword_hash = "{HASH}"\n'
    text = refusal(tmp_path, first + '[[accounts]]\nuser = "b"\n')
    assert "gateway.toml:4: accounts.1.password_hash: this key is needed" in text


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = refusal(tmp_path, "[imap]\nprot = 1\n[web]\nhots = 2\n")
    assert len(text.splitlines()) == 2


def test_what_is_not_toml_names_the_place(tmp_path: Path) -> None:
    assert "line 1" in refusal(tmp_path, "[imap\n")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")


def test_environment_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_IMAP__PORT", "1143")
    config = load(write(tmp_path, "[imap]\nport = 9\ntls_port = 10\n"))
    assert (config.imap.port, config.imap.tls_port) == (1143, 10)


def test_an_unknown_key_in_the_environment_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_IMAP__PROT", "1")
    with pytest.raises(ConfigError, match=r"imap\.prot: unknown key"):
        from_values({}, origin="environment")


def test_two_accounts_of_one_user_are_refused(tmp_path: Path) -> None:
    account = f'[[accounts]]\nuser = "%s"\npassword_hash = "{HASH}"\n'
    assert "same user" in refusal(tmp_path, account % "a@x" + account % "A@X")


def test_a_plain_text_password_is_refused_and_not_shown(tmp_path: Path) -> None:
    text = refusal(tmp_path, '[[accounts]]\nuser = "a"\npassword_hash = "hunter2"\n')
    assert "accounts.0.password_hash" in text
    assert "hunter2" not in text


def test_secrets_do_not_show_in_the_representation() -> None:
    config = from_values({"graph": {"client_secret": "s3cret"}}, origin="test")
    assert "s3cret" not in repr(config)
    assert config.graph.secret() == "s3cret"


def test_the_example_shows_every_key_and_its_default() -> None:
    example = Path(__file__).parents[1] / "conf" / "example.toml"
    values = tomllib.loads(example.read_text())
    config = load(example)
    for name in ("imap", "submission", "state", "web", "log"):
        section = getattr(config, name)
        assert set(values[name]) == set(type(section).model_fields), name


def test_line_of_finds_dotted_and_quoted_keys() -> None:
    text = 'imap.port = 1\n[graph]\n"base_url" = 2\n'
    assert line_of(text, ("imap", "port")) == 1
    assert line_of(text, ("graph", "base_url")) == 3
    assert line_of(text, ("web", "port")) == 0


def test_a_store_url_is_postgresql_and_is_not_shown(tmp_path: Path) -> None:
    assert load(write(tmp_path, '[store]\nurl = ""\n')).store.url is None
    text = refusal(tmp_path, '[store]\nurl = "mysql://me:sesame@h/d"\n')
    assert "gateway.toml:2: store.url" in text
    assert "sesame" not in text
    config = load(write(tmp_path, '[store]\nurl = "postgresql://me:sesame@h/d"\n'))
    assert config.store.url is not None
    assert "sesame" not in repr(config)


ACCOUNT = '[[accounts]]\nuser = "desk"\npassword_hash = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$aGFzaA"\n'


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("shared = true\n", "shared needs"),
        ('shared = true\nauth = "delegated"\n', "shared needs"),
        ('senders = ["bob"]\n', "'bob' is neither an address nor *@domain"),
        ('senders = ["b*b@example.com"]\n', "is neither an address nor *@domain"),
    ],
)
def test_whose_mailbox_and_as_whom(tmp_path: Path, lines: str, said: str) -> None:
    assert said in refusal(tmp_path, ACCOUNT + lines)


def test_the_account_itself_is_among_its_senders(tmp_path: Path) -> None:
    lines = 'mailbox = "desk@example.com"\nsenders = ["*@events.example.com"]\n'
    (account,) = load(write(tmp_path, ACCOUNT + lines)).accounts
    assert account.known_senders == ("desk@example.com", "*@events.example.com")
