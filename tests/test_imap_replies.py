"""One table from errors to replies, and it covers every error there is."""

from __future__ import annotations

import pytest

import gateway.core.errors as errors
from gateway.core.errors import (
    AnnotationTooBig,
    BadCommand,
    GatewayError,
    NoSuchMailbox,
    SubmissionRefused,
    Unavailable,
)
from gateway.imap.context import Census
from gateway.imap.replies import reply_to
from gateway.imap.spec import SPECS, Spec
from gateway.wire.command import Copy, Select
from gateway.wire.encode import Kind


def every_error() -> list[type[GatewayError]]:
    return [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, GatewayError)]


# Those that are not made of a text alone.
MADE: dict[type[GatewayError], GatewayError] = {
    SubmissionRefused: SubmissionRefused(550, "5.7.1", "text"),
    AnnotationTooBig: AnnotationTooBig(1024),
}


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_every_error_has_a_reply(cls: type[GatewayError]) -> None:
    error = MADE.get(cls) or cls("text")
    reply = reply_to(error)
    assert reply.kind is (Kind.BAD if cls is BadCommand else Kind.NO)
    assert (reply.text, reply.code) == (str(error), error.code)
    assert reply.text


def test_an_annotation_too_big_says_how_much_is_taken() -> None:
    """RFC 5464 section 4.3."""
    assert reply_to(AnnotationTooBig(1024)).code == b"METADATA MAXSIZE 1024"


def test_an_error_of_a_class_not_in_the_table_takes_its_parents_row() -> None:
    class Special(Unavailable):
        code = b"CONTACTADMIN"

    assert reply_to(Special("x")).code == b"CONTACTADMIN"


@pytest.mark.parametrize(("command", "code"), [(Copy, b"TRYCREATE"), (Select, b"NONEXISTENT")])
def test_an_unknown_mailbox_is_trycreate_where_create_helps(command: type, code: bytes) -> None:
    spec: Spec = SPECS[command]
    assert reply_to(NoSuchMailbox("No such mailbox"), spec).code == code


def test_an_error_without_text_names_its_kind() -> None:
    assert reply_to(GatewayError()).text == "GatewayError"


def test_a_census_counts_up_to_its_bound_and_forgets_the_gone() -> None:
    census = Census()
    assert [census.enter("a", 2) for _ in range(3)] == [True, True, False]
    census.leave("a")
    assert census.enter("a", 2)
    census.leave("a")
    census.leave("a")
    assert "a" not in census.held
