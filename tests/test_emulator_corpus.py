"""The corpus: complete, well formed where it says so, and the same in every run."""

from __future__ import annotations

import email
import email.policy
import hashlib
import re
from collections import Counter

import pytest

from gateway.emulator import corpus

ALL = corpus.messages()
BY_NAME = {sample.name: sample for sample in ALL}

# Every shape the product is proven on, by the name of a sample that has it.
SHAPES = """
    mixed-alternative-related rfc822-in-rfc822 smime-clear-signed smime-opaque-signed
    smime-encrypted pgp-signed pgp-encrypted calendar-request delivery-report read-receipt
    name-continued name-continued-extended name-extended word-adjacent word-bad-base64
    charset-iso-2022-jp charset-shift_jis charset-euc-kr charset-gb18030 charset-big5 charset-koi8-r
    charset-windows-1251 charset-windows-1252 charset-windows-1255 charset-windows-1256
    charset-utf-7 charset-utf-16 8bit-undeclared empty-body no-headers only-headers line-998
    line-20000 attachment-12mb inline-image duplicate-id-1 duplicate-id-2 date-1970 no-date no-from
    address-groups address-quoted-names format-flowed mailing-list dkim winmail-dat uuencoded yenc
    no-closing-boundary inner-not-closed empty-boundary wrong-boundary preamble-epilogue
    base64-with-junk quoted-printable quoted-printable-trailing-blanks control-characters bare-cr
    address-1500 nested-30 parts-200 zero-length-attachment html-only emoji right-to-left
    subject-2000 header-30k tab-folding duplicate-fields content-type-garbage message-partial
    message-external-body appledouble digest parallel text-enriched paths-in-names received-40
    rfc822-empty identical-1
""".split()  # noqa: SIM905


@pytest.mark.parametrize("name", SHAPES)
def test_the_shape_is_there(name: str):
    assert name in BY_NAME


def test_there_are_enough_and_names_are_unique():
    assert len(ALL) >= 80
    assert [n for n, count in Counter(s.name for s in ALL).items() if count > 1] == []
    assert len({s.data for s in ALL}) == len(ALL)


@pytest.mark.parametrize("sample", ALL, ids=lambda s: s.name)
def test_line_ends_are_crlf_unless_raw(sample: corpus.Sample):
    bare = re.search(rb"(?<!\r)\n|\r(?!\n)", sample.data)
    if "raw" not in sample.tags:
        assert bare is None and b"\x00" not in sample.data
        assert sample.data.endswith(b"\n") or sample.name == "no-final-line-end"


@pytest.mark.parametrize("sample", [s for s in ALL if "huge" not in s.tags], ids=lambda s: s.name)
def test_a_lenient_parser_reads_it(sample: corpus.Sample):
    message = email.message_from_bytes(sample.data, policy=email.policy.compat32)
    assert sum(1 for _ in message.walk()) >= 1


@pytest.mark.parametrize(
    "sample", [s for s in ALL if {"multipart"} <= s.tags and "broken" not in s.tags], ids=lambda s: s.name
)
def test_what_is_not_broken_has_no_defect(sample: corpus.Sample):
    message = email.message_from_bytes(sample.data)
    assert message.is_multipart()
    assert [d for p in message.walk() for d in p.defects] == []


def part_count(name: str) -> int:
    return sum(1 for _ in email.message_from_bytes(BY_NAME[name].data).walk())


def test_wide_deep_and_large_ones_are_what_they_claim():
    assert part_count("parts-200") == 201
    assert part_count("nested-30") == 31
    assert part_count("nested-messages-12") == 14
    whole = email.message_from_bytes(BY_NAME["attachment-12mb"].data)
    assert len(whole.get_payload(1).get_payload(decode=True)) == 12_000_000
    assert max(map(len, BY_NAME["line-20000"].data.split(b"\r\n"))) == 20_000
    assert max(map(len, BY_NAME["line-998"].data.split(b"\r\n"))) == 998
    assert len(BY_NAME["header-30k"].data.partition(b"\r\n\r\n")[0]) > 30_000
    assert len(BY_NAME["subject-2000"].data.partition(b"Subject: ")[2]) > 2000


def test_charsets_decode_to_text_of_their_script():
    for sample in ALL:
        if not sample.name.startswith("charset-") or sample.name in {
            "charset-unknown",
            "charset-empty",
            "charset-lies",
            "charset-invalid-utf-8",
            "charset-iso-8859-8-i",  # a label Python does not know
            "charset-ks_c_5601-1987",  # means more in mail than Python's codec of that name
        }:
            continue
        message = email.message_from_bytes(sample.data)
        text = message.get_payload(decode=True).decode(message.get_content_charset())
        assert text.strip() and "\ufffd" not in text, sample.name
        assert any(ord(c) > 127 for c in text), sample.name


def test_duplicates_share_their_message_id():
    first, second = (email.message_from_bytes(BY_NAME[f"duplicate-id-{n}"].data) for n in (1, 2))
    assert first["message-id"] == second["message-id"] and first["subject"] != second["subject"]


def test_the_corpus_is_the_same_in_every_run():
    import subprocess
    import sys

    digest = hashlib.sha256(b"".join(s.data for s in ALL)).hexdigest()
    script = (
        "import hashlib; from gateway.emulator import corpus;"
        "print(hashlib.sha256(b''.join(s.data for s in corpus.messages())).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest


def test_raw_ones_are_not_deliverable():
    names = {s.name for s in corpus.deliverable()}
    assert {"bare-lf", "bare-cr", "nul", "empty-message"} & names == set()
    assert len(names) >= 80
