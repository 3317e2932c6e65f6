"""Every Graph error has its IMAP refusal and its SMTP reply, with texts that are safe to show."""

from __future__ import annotations

import pytest

from gateway.core.errors import NoSuchMailbox, Unavailable
from gateway.graph import errors
from gateway.graph.errors import Denied, GraphError, NotFound, SignInFailed, Throttled, Unreachable
from gateway.mailbox.replies import REFUSALS, SUBMISSION_REPLIES, refusal, submission_refusal

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GraphError)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_its_own_row(kind: type[GraphError]) -> None:
    assert kind in REFUSALS and kind in SUBMISSION_REPLIES


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_of_the_answer_is_shown(kind: type[GraphError]) -> None:
    error = kind("secret subject", status=500, code="secret")
    reply = submission_refusal(error)
    assert "secret" not in f"{refusal(error)} {reply}"
    assert reply.enhanced.startswith(f"{reply.status // 100}.") and str(reply).isascii()


def test_an_unlisted_kind_is_answered_as_its_nearest() -> None:
    class Newer(Denied): ...

    assert submission_refusal(Newer("")).enhanced == "5.7.60"


def test_a_folder_that_is_gone_is_no_such_mailbox() -> None:
    assert isinstance(refusal(NotFound("", status=404, code="ErrorFolderNotFound")), NoSuchMailbox)
    assert refusal(NotFound("", status=404, code="ErrorItemNotFound")).code == b"EXPUNGEISSUED"


def test_when_to_try_again_is_handed_on() -> None:
    answer = refusal(Unreachable("", retry_after=7.5))
    assert isinstance(answer, Unavailable) and answer.retry_after == 7.5
    assert refusal(Throttled("")).code == b"LIMIT"


def test_graph_that_takes_no_token_now_is_no_wrong_password() -> None:
    """535 makes a mail program ask for the password, which is right: only what the identity platform refuses is one."""
    refused = submission_refusal(SignInFailed("", code="AADSTS7000215"))
    assert (refused.status, refused.enhanced) == (535, "5.7.8")
    passing = submission_refusal(SignInFailed("", status=401))
    assert (passing.status, passing.enhanced) == (451, "4.7.0")
