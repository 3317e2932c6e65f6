"""Base subjects: RFC 5256 section 2.1, its ABNF and its steps; linear in the length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mime.subject import base_subject


@pytest.mark.parametrize(
    ("subject", "base", "answers"),
    [
        ("Hello", "Hello", False),
        ("", "", False),
        (" \t ", "", False),
        ("a \t b\r\n c", "a b c", False),
        ("Re: Hello", "Hello", True),
        ("re:Hello", "Hello", True),
        ("RE : Hello", "Hello", True),
        ("Re[2]: Hello", "Hello", True),
        ("Fw: Hello", "Hello", True),
        ("Fwd: Hello", "Hello", True),
        ("fwd [x y] : Hello", "Hello", True),
        ("Reply: Hello", "Reply: Hello", False),
        ("Re Hello", "Re Hello", False),
        ("Re: re: fwd: Hello", "Hello", True),
        ("Hello (fwd)", "Hello", True),
        ("Hello (FWD) (fwd)  ", "Hello", True),
        ("[list] Hello", "Hello", False),
        ("[list] Re: Hello", "Hello", True),
        ("Re: [list] Hello", "Hello", True),
        ("[a] [b] re: [c][d] Hello", "Hello", True),
        ("[list]", "[list]", False),
        ("[a][b]", "[b]", False),
        ("Re: [a]", "[a]", True),
        ("[a [b] c", "[a [b] c", False),  # a blob holds no bracket
        ("[fwd: Hello]", "Hello", True),
        ("[Fwd: Re: Hello (fwd)]", "Hello", True),
        ("[fwd: [FWD: Hello]]", "Hello", True),
        ("Re: [fwd: Hello]", "Hello", True),
        ("[fwd: Hello", "[fwd: Hello", False),
        ("[fwd:]", "", True),
        ("Re:", "", True),
        ("Re: (fwd)", "", True),
        ("AW: Hello", "AW: Hello", False),  # the algorithm knows English only
    ],
)
def test_base(subject: str, base: str, answers: bool) -> None:
    assert base_subject(subject) == (base, answers)


PIECES = st.sampled_from(["Re:", "re", "[a]", "[", "]", " ", "fwd:", "[fwd:", "(fwd)", "x", ":", "Fw [b]:"])


@given(st.lists(PIECES, max_size=12))
def test_a_base_is_its_own_base(pieces: list[str]) -> None:
    base = base_subject("".join(pieces)).text
    assert base_subject(base) == (base, False)


@given(st.lists(PIECES, max_size=12))
def test_an_answer_has_the_base_of_what_it_answers(pieces: list[str]) -> None:
    subject = "".join(pieces)
    assert base_subject("Re: " + subject).text == base_subject(subject).text
