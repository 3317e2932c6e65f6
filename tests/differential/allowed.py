"""What the two may answer differently, each with its reason; everything else is a fault.

A rule is matched against one fact of one command. `ends`: the difference has led the two apart, and the rest of the
sequence is not compared. `names` and `samples` bind a rule to sequences, or to messages of the corpus.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from differential.fixtures import CORPUS, SMALL, TAGS
from differential.play import NOTHING, Difference

Test = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    reason: str
    fact: str  # the whole of it matches this expression
    test: Test = lambda ours, theirs: True
    command: str = ""  # found in the command, in any case, the number of a session in front cut off
    ends: bool = False
    names: tuple[str, ...] = ()
    samples: frozenset[str] = frozenset()
    judge: Callable[[Difference], bool] = lambda difference: True

    def covers(self, difference: Difference) -> bool:
        return (
            re.fullmatch(self.fact, difference.fact, re.DOTALL) is not None
            and re.search(self.command.encode(), _command(difference), re.IGNORECASE | re.DOTALL) is not None
            and (not self.names or difference.sequence in self.names)
            and (not self.samples or sample_of(difference) in self.samples)
            and self.test(difference.ours, difference.theirs)
            and self.judge(difference)
        )


def _command(difference: Difference) -> bytes:
    return re.sub(rb"\A\d:", b"", difference.command)


def sample_of(difference: Difference) -> str:
    """The sample of the corpus that a `fetch n` is about; "" where there is none."""
    number = re.match(r"fetch (\d+) ", difference.fact)
    return samples_of(difference)[int(number[1]) - 1] if number else ""


def samples_of(difference: Difference) -> list[str] | tuple[str, ...]:
    """The samples in the mailbox that the sequence opens, in order."""
    box = re.fullmatch(rb"EXAMINE Corpus(\d+)", difference.before[0])
    return CORPUS[int(box[1]) - 1] if box else SMALL


# -- tests --


def _is(ours: Any, theirs: Any) -> Test:
    return lambda one, other: (one, other) == (ours, theirs)


def _only_theirs(ours: Any, theirs: Any) -> bool:
    return bool(ours == NOTHING)


def _only_ours(ours: Any, theirs: Any) -> bool:
    return bool(theirs == NOTHING)


def _no_part(ours: Any, theirs: Any) -> bool:
    return ours is None and theirs == b""


def _line_end_more(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, bytes) and ours[-2:] == b"--" and ours + b"\r\n" == theirs


def _blank_line_less(ours: Any, theirs: Any) -> bool:
    return isinstance(theirs, bytes) and ours == theirs + b"\r\n"


def _same_but(*leaves: Test) -> Test:
    """Trees that are equal but for leaves that pass one of the tests."""

    def compare(ours: Any, theirs: Any) -> bool:
        if ours == theirs or any(leaf(ours, theirs) for leaf in leaves):
            return True
        both = isinstance(ours, tuple) and isinstance(theirs, tuple) and len(ours) == len(theirs)
        return both and all(compare(one, other) for one, other in zip(ours, theirs, strict=True))

    return compare


def _default_charset(ours: Any, theirs: Any) -> bool:
    return isinstance(theirs, tuple) and theirs == (*(ours or ()), b"charset", b"us-ascii")


def _line_end_counted(ours: Any, theirs: Any) -> bool:
    """The size of an embedded message, or its lines."""
    if not (isinstance(ours, bytes) and isinstance(theirs, bytes) and ours.isdigit() and theirs.isdigit()):
        return False
    return int(theirs) - int(ours) in (1, 2)


def _other_case(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, bytes) and isinstance(theirs, bytes) and ours.lower() == theirs.lower()


def _eight_bit(ours: Any, theirs: Any) -> bool:
    return (
        isinstance(ours, bytes) and isinstance(theirs, bytes) and ours[:2] == b"=?" and not theirs.isascii()
    )


def _blanks(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, bytes) and isinstance(theirs, bytes) and ours.split() == theirs.split()


def _keywords_more(ours: Any, theirs: Any) -> bool:
    """Theirs has keywords besides, or \\Draft."""
    if NOTHING in (ours, theirs):
        return False
    one, other = (ours[0], theirs[0]) if isinstance(ours, tuple) else (ours, theirs)
    return one <= other and all(name[0] != "\\" or name == "\\Draft" for name in other - one)


CHILDREN = {"\\Haschildren", "\\Hasnochildren"}
USES = {"\\Archive", "\\Trash", "\\Drafts", "\\Junk", "\\Sent"}
MARKS = {"\\Marked", "\\Unmarked"}


def _list_attributes(ours: Any, theirs: Any) -> bool:
    """Ours has more of what may always be told; theirs has marks, and \\Noselect for a level above."""
    if NOTHING in (ours, theirs) or not isinstance(ours, frozenset):
        return False
    mine, other = ours & CHILDREN, theirs & CHILDREN
    if mine and other and mine != other:
        return False
    return ours - theirs <= CHILDREN | USES | {"\\Subscribed"} and theirs - ours <= MARKS | {"\\Noselect"}


def _in_several_sessions(difference: Difference) -> bool:
    return any(command.startswith(b"2:") for command in difference.before)


def _recent(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, frozenset) and isinstance(theirs, frozenset) and ours ^ theirs == {"\\Recent"}


def _found_differ_in(kind: Callable[[str], bool]) -> Callable[[Difference], bool]:
    """What was found differs in samples of this kind only; of ESEARCH, that there is such a sample."""

    def judge(difference: Difference) -> bool:
        names = samples_of(difference)
        if difference.fact != "search":
            return any(map(kind, names))
        return all(kind(names[n - 1]) for n in set(difference.ours) ^ set(difference.theirs))

    return judge


def _has_parts(name: str) -> bool:
    return bool(TAGS[name] & {"rfc822", "report", "attachment", "odd", "broken", "multipart"})


def _has_no_date(name: str) -> bool:
    return name.startswith("date-") or bool(TAGS[name] & {"missing", "odd", "empty"})


STRUCTURE = r"fetch \d+ (BODY|BODYSTRUCTURE)"
SECTION = r"fetch \d+ BODY\[.*"
FIELDS = r"fetch \d+ (BODY.*|ENVELOPE)"

# Syntax that Dovecot lets pass; RFC 3501 section 9 is the judge of each.
LENIENT = (
    r"\AFETCH 1, FLAGS\Z", r"\AFETCH 1 BODY.PEEK\[0\]\Z", r"\AFETCH 1 BODY.PEEK\[\]<0(\.0)?>\Z", r'\ALIST "" \(\)\Z',
    r"\A(NOOP|NAMESPACE|CHECK|CAPABILITY|IDLE) x\Z", r"\AENABLE\Z", r'\AID( \("name"\)| name)?\Z',
    r"\ASEARCH SINCE 32-Jan-2024\Z", r"\ASEARCH SEEN  FLAGGED\Z", r"\ASTORE 1 \+FLAGS\Z",
    r"\AFETCH 1 BINARY.(PEEK\[(1.MIME|HEADER|0)\]|SIZE\[(TEXT\]|1\]<0.5>))\Z",
    r"\A(FETCH  1 FLAGS|FETCH 1  FLAGS|FETCH 1 \(FLAGS  UID\)|FETCH 1 \( FLAGS\)|FETCH 1 \(FLAGS \))\Z",
)  # fmt: skip
LENIENT_AND_DONE = (
    r"\ACOPY 1 Other x\Z", r"\ASELECT Box x\Z", r"\ASELECT  Box\Z", r"\A(UID )?EXPUNGE [x@\d]", r"\ACLOSE x\Z",
    r"\A(CREATE|DELETE|SUBSCRIBE) a b\Z", r"\ARENAME a b c\Z",
)  # fmt: skip

# Malformed beyond what any RFC has an answer for. Ours: text/plain for what has no usable type, the whole body as
# one part for a multipart without delimiters, so that nothing of a message is out of reach.
MALFORMED = frozenset((
    "content-type-garbage", "content-type-no-slash", "content-type-empty", "no-boundary-parameter", "empty-boundary",
    "wrong-boundary", "boundary-never-used", "only-closing-boundary", "boundary-too-long",
    "name-no-quote-end", "name-twice", "name-trailing-semicolon", "boundary-unquoted-special",
    "boundary-twice", "empty-multipart", "name-with-a-gap", "name-unquoted-spaces",
    "name-many",
))  # fmt: skip
BAD_ADDRESSES = frozenset((
    "address-bare", "address-unfinished", "address-empty-fields", "address-semicolons", "address-comments",
    "word-in-addresses",
))  # fmt: skip
ALLOWED: tuple[Rule, ...] = (
    # -- FETCH --
    Rule("Dovecot 2.3 has no OBJECTID; RFC 8474 4.2 and 4.1", r"code MAILBOXID", _only_ours),
    Rule("CREATE says which mailbox was made; RFC 8474 4.1", r"reply code",
         lambda ours, theirs: ours != NOTHING and str(ours[0]) == "MAILBOXID", r"\ACREATE "),
    Rule("the line end before a delimiter, as in BODY; RFC 2046 5.1.1", r"fetch \d+ BINARY\[[\d.]+\].*",
         _line_end_more),
    Rule("a section that is not there is NIL, Dovecot's is an empty string; RFC 3501 7.4.2 (nstring)",
         SECTION, _no_part),
    Rule("a part that is neither multipart nor message has no parts below it, Dovecot takes it for its own part 1; "
         "RFC 3501 6.4.5", r"fetch \d+ BODY\[[\d.]*\.1(\.1)*(\.[A-Z].*)?\].*",
         lambda ours, theirs: ours is None and isinstance(theirs, bytes)),
    Rule("the line end before a delimiter is the delimiter's; Dovecot counts it to the part where that ends in a "
         "delimiter itself; RFC 2046 5.1.1", SECTION, _line_end_more),
    Rule("the blank line behind a header is part of it, also where its line end is the delimiter's too, and behind "
         "fields that were asked for; RFC 3501 6.4.5", r"fetch \d+ BODY\[(.*MIME|.*HEADER.*)\].*", _blank_line_less),
    Rule("sizes follow RFC 2046 5.1.1 (line end of the delimiter); only what is declared is a parameter, and the "
         "default charset is text/plain's without a Content-Type (RFC 6657 section 3); types, encodings and charsets "
         "are spelt in any case (RFC 2045 5.1)",
         STRUCTURE, _same_but(_default_charset, _line_end_counted, _other_case)),
    Rule("malformed MIME, legal answers both; RFC 2046 5.1.1 has none", FIELDS, samples=MALFORMED),
    Rule("a delimiter is a line of its own (the grammar), Dovecot goes by its beginning (the text); RFC 2046 5.1.1",
         FIELDS, samples=frozenset(("boundary-in-text", "part-header-cut"))),
    Rule("malformed addresses, comments as names: what can be read is told; RFC 3501 7.4.2", r"fetch \d+ ENVELOPE",
         samples=BAD_ADDRESSES),
    Rule("unfolding takes line ends away, not blanks; what follows the colon is trimmed; RFC 5322 2.2.3; and octets "
         "beyond ASCII are told as encoded words, Dovecot tells them as they are; RFC 3501 4.3",
         r"fetch \d+ ENVELOPE", _same_but(_blanks, _eight_bit)),
    Rule("of a field that may stand once the first counts, for Dovecot the last; RFC 5322 3.6", r"fetch \d+ ENVELOPE",
         samples=frozenset(("date-twice", "duplicate-fields", "address-from-twice"))),
    Rule("a number beyond the last is BAD also beside others; RFC 9051 section 9, seq-number", r".*",
         command=r"FETCH \S*13\b",
         test=lambda ours, theirs: (ours, theirs) == ("BAD", "OK") or ours == NOTHING),
    Rule("* and 1:* in an empty mailbox name no message: OK, for programs ask so; "
         "RFC 9051 section 9 only has a should",
         r"reply", _is("OK", "BAD"), r"\A(FETCH (\*|1:\*) )"),
    # -- syntax --
    *(Rule(f"Dovecot lets {c} pass, RFC 3501 section 9 does not", ".*", command=c) for c in LENIENT),
    *(
        Rule(f"Dovecot lets {c} pass, RFC 3501 section 9 does not", ".*", command=c, ends=True)
        for c in LENIENT_AND_DONE
    ),
    Rule("a name that is none: BAD for what the grammar does not have, NO from Dovecot; RFC 3501 5.1.3, section 9",
         r"reply", _is("BAD", "NO"), r'"bad&utf"|"a\x80"|"tab\tinside"'),
    Rule("Dovecot says BAD twice for an APPEND without a message", r"BAD", _only_theirs, r"\AAPPEND "),
    Rule("ENABLED is told also when nothing was enabled; RFC 5161 3.1", r"enabled", _is(frozenset(), NOTHING)),
    Rule("Dovecot 2.3 has UNAUTHENTICATE for trusted proxies only; RFC 8437 3", r"reply", _is("OK", "BAD"),
         r"\AUNAUTHENTICATE\Z", ends=True),
    # -- SELECT --
    Rule("\\Draft cannot be stored: in Graph a message is a draft from its creation or never (isDraft); and Dovecot "
         "keeps keywords that no message has (any more); RFC 3501 7.1, 7.2.6", r"flags|code PERMANENTFLAGS",
         _keywords_more),
    Rule("when FLAGS is told again is the server's choice; RFC 3501 7.2.6", r"flags|code PERMANENTFLAGS",
         lambda ours, theirs: NOTHING in (ours, theirs), r"\A(?!SELECT|EXAMINE)"),
    Rule("Dovecot's NO has no code where RFC 5530 section 3 has one", r"reply code",
         lambda ours, theirs: theirs == NOTHING and ours in (("NONEXISTENT",), ("CANNOT",), ("HASCHILDREN",))),
    Rule("an empty name is no mailbox: [NONEXISTENT] and [CANNOT] both fit; RFC 5530 section 3",
         r"reply code", _is(("NONEXISTENT",), ("CANNOT",)), r'\A\w+ ""'),
    Rule("SELECT in bad syntax is no SELECT: the mailbox stays open; RFC 3501 6.3.1, results NO and BAD",
         r"code CLOSED", _only_theirs, r"\ASELECT( Box \(NONSENSE\))?\Z", ends=True),
    # -- \Recent --
    Rule("the new number of \\Recent messages follows from EXPUNGE and EXISTS, and need not be told; RFC 3501 7.3.2",
         r"recent", lambda ours, theirs: NOTHING in (ours, theirs), r"\A(?!SELECT|EXAMINE)"),
    Rule("which of several sessions sees a new message as \\Recent is undefined; RFC 3501 2.3.2",
         r"fetch \d+ FLAGS", _recent,
        judge=_in_several_sessions),
    Rule("which of several sessions sees a new message as \\Recent is undefined, so is their number; RFC 3501 2.3.2",
         r"recent|status \w+ RECENT", command=r"NOOP|STATUS|EXPUNGE|MOVE|COPY|APPEND|CHECK"),
    # -- STORE, EXPUNGE, MOVE --
    Rule("STORE tells the flags of every message named, Dovecot only of those that changed; RFC 3501 6.4.6",
         r"fetch \d+ (FLAGS|UID)", _only_ours, r"\A(UID )?STORE "),
    Rule("a flag that cannot be stored is passed over; RFC 3501 7.1 (PERMANENTFLAGS)", r"reply|fetch 1 FLAGS",
         command=r"\ASTORE 1 \+FLAGS \(\\(Nonsense|Recent)\)\Z"),
    Rule("a mailbox opened by EXAMINE takes no change, and says so; RFC 3501 6.3.2", r"reply( code)?",
         lambda ours, theirs: (ours, theirs) in (("NO", "OK"), (("READ-ONLY",), NOTHING)),
         r"\A(UID )?(STORE|EXPUNGE)"),
    Rule("Dovecot expunges from a mailbox opened by EXAMINE; RFC 3501 6.3.2", r".*", command=r"\AMOVE 1 Other\Z",
         names=("copy-from-examined",), ends=True),
    Rule("flags of a message that is gone already: Dovecot tells them once more; RFC 3501 5.2",
         r"fetch \d+ FLAGS", lambda ours, theirs: ours == NOTHING and "\\Deleted" in theirs, r"\A(FETCH|STORE)"),
    Rule("Dovecot gives the connection up over MOVE of overlapping ranges into nowhere", ".*",
         command=r"MOVE \S+ NoSuch",
         test=lambda ours, theirs: theirs == "connection closed", ends=True),
    # -- CONDSTORE, QRESYNC --
    Rule("a CONDSTORE-aware client hears MODSEQ with all flags, from Dovecot only where it is news; RFC 7162 3.1",
         r"fetch \d+ MODSEQ", _only_ours, r"\A(UID )?(FETCH|STORE) "),
    Rule("HIGHESTMODSEQ is for who is CONDSTORE-aware; RFC 7162 3.1.2", r"code HIGHESTMODSEQ", _only_theirs,
         r"\A(SELECT|EXAMINE) "),
    Rule("HIGHESTMODSEQ must be told by EXPUNGE and UID EXPUNGE, and by no other; RFC 7162 3.2.7, 3.2.9", r"reply code",
         _is(NOTHING, ("HIGHESTMODSEQ",)), r"NOOP|UID FETCH"),
    Rule("HIGHESTMODSEQ is told when a mailbox is opened, later with each MODSEQ; RFC 7162 3.1.2",
         r"code HIGHESTMODSEQ", _only_theirs, r"\AAPPEND "),
    Rule("Dovecot forgets a NOT before MODSEQ", r"search( MODSEQ)?", command=r"SEARCH NOT MODSEQ "),
    # -- SEARCH --
    Rule("the header of an embedded message is text of the body that holds it; RFC 3501 6.4.4 BODY",
         r"search|esearch (COUNT|MIN|MAX|ALL)", command=r"(BODY|TEXT) ", judge=_found_differ_in(_has_parts)),
    Rule("the list of charsets is optional; RFC 3501 7.1 BADCHARSET", r"reply code",
         lambda ours, theirs: ours[0] == theirs[0] == "BADCHARSET"),
    Rule("a message whose Date cannot be read was sent at no time, for Dovecot in 1970; years of three digits are "
         "counted from 1900 (RFC 5322 4.3)", r"search|esearch (COUNT|MIN|MAX|ALL)", command=r"SENT(BEFORE|SINCE|ON) ",
         judge=_found_differ_in(_has_no_date)),
    Rule("a quoted string that does not end is read as words, so that its address is found; RFC 5322 3.4", r"search",
         command=r"SEARCH FROM ", judge=_found_differ_in(lambda name: name == "address-unfinished")),
    Rule("i;unicode-casemap takes letters in another font for the same (RFC 5051); an encoded word with a language, "
         "or with blanks inside, is read (RFC 2231 section 5)", r"search", command=r"SEARCH SUBJECT e\Z",
         names=("corpus5-search", "corpus8-search")),
    Rule("Dovecot forgets a NOT before a group with an empty set of UIDs", r"search", command=r"NOT \(LARGER 0 OR"),
    # -- metadata --
    Rule("Dovecot takes empty lists of entries, and atoms as values; RFC 5464 section 5 (entries, entry-values, value)",
         r"reply", _is("BAD", "OK"), r"\A(GETMETADATA INBOX \(\)|SETMETADATA INBOX \((/private/a x)?\))\Z"),
    Rule("entries of our own; RFC 5464 4.2.2, 3.2", r"metadata .* /private/vendor/graph-mail-gateway/.*", _only_ours),
    # -- mailboxes --
    Rule("the session that has a mailbox open lives on when it is deleted or renamed; RFC 3501 6.3.4, 6.3.5", r"BYE",
         _only_theirs, names=("delete-the-selected", "rename-the-selected"), ends=True),
    Rule("a level above is a mailbox in Exchange, \\Noselect in Dovecot's store; RFC 3501 6.3.3", r".*",
         command=r"\A(SELECT Deep/Deeper|CREATE Work)\Z", names=("create", "create-with-delimiter"), ends=True),
    Rule("levels made for a RENAME stay, in Dovecot's store they are no mailboxes; RFC 3501 6.3.5",
         r"list Far(/Away)?( delimiter)?", _only_ours, names=("rename-into-new-parents",)),
    Rule("a delimiter at the end announces children, in RENAME as in CREATE; RFC 3501 6.3.3", r".*",
         command=r"\ARENAME Other New/\Z", ends=True),
    Rule("RENAME of INBOX moves its messages to a new mailbox, Dovecot's takes UIDVALIDITY along; RFC 3501 6.3.5",
         r"code (UIDNEXT|UIDVALIDITY)", names=("rename-inbox",)),
    Rule("a mailbox is subscribed from its creation on, for programs list only subscribed ones; RFC 3501 6.3.6",
         r"(lsub|list) Work.*", _only_ours, r"\A(LSUB|LIST \(SUBSCRIBED)"),
    Rule("a subscription follows its mailbox; RFC 3501 6.3.5 leaves it open", r"lsub (Other|Renamed)( delimiter)?",
         names=("rename-keeps-subscription",)),
    Rule("a subscribed name without a mailbox is \\Noselect; RFC 3501 6.3.9", r"lsub Other",
         _is(frozenset({"\\Noselect"}), frozenset()), names=("delete-keeps-subscription",)),
    Rule("the root of a reference may be the empty string; RFC 3501 6.3.8", r"list (Work/)?( delimiter)?",
         command=r'\ALIST "Work/" ""\Z'),
    Rule("STATUS of the selected mailbox is answered by both; [CLIENTBUG] is Dovecot's opinion, RFC 5530",
         r"reply code", _is(NOTHING, ("CLIENTBUG",)), r"STATUS"),
    Rule("what LIST and LSUB tell unasked: children and uses from us, marks from Dovecot (RFC 3501 7.2.2, RFC 5258 "
         "section 3, RFC 6154 section 2); a level above is a mailbox in Exchange, \\Noselect in Dovecot's store",
         r"(list|lsub) .*", _list_attributes),
)  # fmt: skip


def reason(difference: Difference) -> Rule | None:
    return next((rule for rule in ALLOWED if rule.covers(difference)), None)
