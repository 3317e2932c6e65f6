"""Parameters of MAIL and RCPT: `gateway.smtp.parameters`."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mailbox.values import UNASKED, Asked
from gateway.smtp.parameters import MailParameters, mail_parameters, rcpt_parameters
from gateway.smtp.paths import argument
from gateway.smtp.replies import Rejected

NOW, LONGEST = 1_700_000_000.5, 1000  # 2023-11-14T22:13:20Z


def parameters(text: str, longest: int = LONGEST) -> MailParameters:
    return mail_parameters(argument(f"FROM:<a@b.c>{text}", "FROM").parameters, now=NOW, longest_hold=longest)


def asked(text: str) -> Asked:
    return rcpt_parameters(argument(f"TO:<a@b.c>{text}", "TO").parameters)


def refusal(text: str, longest: int = LONGEST) -> tuple[int, str]:
    with pytest.raises(Rejected) as caught:
        parameters(text, longest)
    return caught.value.reply.code, caught.value.reply.enhanced


def test_mail_parameters() -> None:
    assert parameters("") == MailParameters(0, False)
    assert parameters(" SIZE=1000 BODY=8BITMIME SMTPUTF8") == MailParameters(1000, True)
    assert parameters("  size=0   body=7bit ") == MailParameters(0, False)
    assert parameters(" AUTH=<>") == MailParameters()
    assert parameters(" AUTH=e+3Dmc2@example.com") == MailParameters()


def test_ret_and_envid() -> None:
    assert parameters(" RET=hdrs ENVID=QQ314159") == MailParameters(ret="HDRS", envid="QQ314159")
    assert parameters(" ENVID=a+2Bb+3Dc+20d RET=FULL") == MailParameters(ret="FULL", envid="a+b=c d")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (" HOLDFOR=0", 1_700_000_000),
        (" HOLDFOR=1000", 1_700_001_000),
        (" HOLDUNTIL=2023-11-14T22:20:00Z", 1_700_000_400),
        (" HOLDUNTIL=2023-11-14t22:20:00.25z", 1_700_000_400),
        (" HOLDUNTIL=2023-11-14T23:20:00+01:00", 1_700_000_400),
    ],
)
def test_a_hold_is_a_time(text: str, at: int) -> None:
    """RFC 4865 section 4, with its erratum: any date-time of RFC 3339."""
    assert parameters(text).hold_until == at


@pytest.mark.parametrize(
    "text",
    [" HOLDFOR=1001", " HOLDUNTIL=2023-11-14T22:30:01Z", " HOLDUNTIL=2023-11-14T22:13:19Z", " HOLDFOR=", " HOLDFOR=-1",
     " HOLDFOR=1234567890", " HOLDUNTIL=2023-11-14", " HOLDUNTIL=2023-02-30T00:00:00Z",
     " HOLDUNTIL=2023-11-14T22:20:00", " HOLDUNTIL=0000-01-01T00:00:00Z", " HOLDFOR=1 HOLDUNTIL=2023-11-14T22:20:00Z"],
)  # fmt: skip
def test_holds_that_cannot_be(text: str) -> None:
    assert refusal(text) == (501, "5.5.4")


def test_where_nothing_can_be_held_the_words_are_not_known() -> None:
    assert refusal(" HOLDFOR=1", longest=0) == (555, "5.5.4")


@pytest.mark.parametrize(
    "text",
    [" SIZE", " SIZE=", " SIZE=-1", " SIZE=1e3", f" SIZE={'9' * 21}", " BODY=BINARYMIME", " SMTPUTF8=1",
     " SIZE=1 SIZE=2", " =x", " SIZE==1", " AUTH=+zz", " SIZE=١", " RET", " RET=ALL", " RET=FULL RET=HDRS", " ENVID=",
     f" ENVID={'x' * 101}", " ENVID=+0A", " ENVID=+2b", " ENVID=a+", " ENVID=+7F", " ENVID=ж"],
)  # fmt: skip
def test_malformed_mail_parameters(text: str) -> None:
    assert refusal(text) == (501, "5.5.4")


@pytest.mark.parametrize("text", [" NOTIFY=NEVER", " BDAT", " MT-PRIORITY=3", " ORCPT=rfc822;a@b.c"])
def test_unknown_parameters(text: str) -> None:
    assert refusal(text) == (555, "5.5.4")


def test_requiretls_is_refused_by_name() -> None:
    """RFC 8689 section 5."""
    assert refusal(" REQUIRETLS") == (550, "5.7.30")


def test_rcpt_parameters() -> None:
    assert asked("") is UNASKED
    assert asked(" NOTIFY=NEVER") == Asked(frozenset())
    assert asked(" notify=success,Failure,DELAY") == Asked(frozenset({"SUCCESS", "FAILURE", "DELAY"}))
    assert asked(" NOTIFY=SUCCESS ORCPT=rfc822;Bob+2Btag@example.com") == Asked(
        frozenset({"SUCCESS"}), "rfc822;Bob+tag@example.com"
    )
    assert asked(" ORCPT=X400;/C+3Dno/") == Asked(None, "X400;/C=no/")
    assert asked(" ORCPT=utf-8;ж@example.com").orcpt == "utf-8;ж@example.com"
    assert asked(r" ORCPT=utf-8;\x{436}@example.com").orcpt == "utf-8;ж@example.com"


@pytest.mark.parametrize(
    "text",
    [" NOTIFY=", " NOTIFY=NEVER,SUCCESS", " NOTIFY=SUCCESS,", " NOTIFY=MAYBE", " NOTIFY=NEVER NOTIFY=NEVER",
     " NOTIFY=SUCCESS,SUCCESS,SUCCESS,SUCCESS", " ORCPT=", " ORCPT=bob@example.com", " ORCPT=;bob", " ORCPT=rfc822;",
     " ORCPT=rfc822;a+0D+0Ab", f" ORCPT=rfc822;{'x' * 501}", " ORCPT=rfc822;ж", r" ORCPT=utf-8;\x{0A}",
     r" ORCPT=utf-8;\x{FFFFFF}", r" ORCPT=utf-8;\x{D800}", " ORCPT=utf-8;\udcff"],
)  # fmt: skip
def test_malformed_rcpt_parameters(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        asked(text)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (501, "5.5.4")


def test_what_a_client_wants_to_hear() -> None:
    assert [UNASKED.wants(event) for event in ("SUCCESS", "FAILURE", "DELAY")] == [False, True, True]
    assert not any(Asked(frozenset()).wants(event) for event in ("SUCCESS", "FAILURE", "DELAY"))


@given(st.text(max_size=60))
def test_whatever_is_taken_can_stand_in_a_report(text: str) -> None:
    for take in (lambda: parameters(f" ENVID={text}").envid, lambda: asked(f" ORCPT={text}").orcpt):
        with suppress(Rejected):
            assert take().isprintable()
