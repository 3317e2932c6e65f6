"""Characters: charsets of bodies and headers, encoded words in every odd form, transfer encodings."""

from __future__ import annotations

import base64
import quopri

from gateway.emulator.corpus.build import PLAIN, Sample, b64, letter, multipart, part, raw, sample


def samples() -> list[Sample]:
    return [*_bodies(), *_encoded_words(), *_eight_bit(), *_parameters(), *_transfer(), *_scripts()]


# charset label, Python's codec, a text in it
CHARSETS: tuple[tuple[str, str, str], ...] = (
    ("iso-8859-1", "latin-1", "Grüße aus Köln, à bientôt"),
    ("iso-8859-15", "iso8859-15", "Preis: 5 € – œuvre".replace("–", "-")),
    ("iso-8859-2", "iso8859-2", "Zażółć gęślą jaźń"),
    ("iso-8859-7", "iso8859-7", "Καλημέρα κόσμε"),
    ("iso-8859-8-i", "iso8859-8", "שלום עולם"),
    ("windows-1250", "cp1250", "Příliš žluťoučký kůň"),
    ("windows-1251", "cp1251", "Привет, мир"),
    ("windows-1252", "cp1252", "“Smart quotes” – and €"),
    ("windows-1255", "cp1255", "שלום עולם"),
    ("windows-1256", "cp1256", "مرحبا بالعالم"),
    ("koi8-r", "koi8-r", "Здравствуй, Алиса"),
    ("koi8-u", "koi8-u", "Привіт, їжак"),
    ("iso-2022-jp", "iso2022-jp", "こんにちは世界"),
    ("Shift_JIS", "shift_jis", "こんにちは世界、表示"),
    ("euc-jp", "euc-jp", "日本語の本文"),
    ("euc-kr", "euc-kr", "안녕하세요 세계"),
    ("ks_c_5601-1987", "cp949", "똠방각하"),
    ("gb2312", "gb2312", "你好世界"),
    ("gb18030", "gb18030", "你好，世界 𠀀"),
    ("big5", "big5", "你好，世界"),
    ("tis-620", "tis-620", "สวัสดีชาวโลก"),
    ("utf-8", "utf-8", "Ünïcødé 世界 😀"),
    ("utf-7", "utf-7", "Grüße & 世界"),
)

SEVEN_BIT = frozenset({"iso-2022-jp", "utf-7"})


def _bodies() -> list[Sample]:
    made = []
    for label, codec, text in CHARSETS:
        coding = "7bit" if label in SEVEN_BIT else "base64"
        data = f"{text}\n".encode(codec)
        body = data if coding == "7bit" else b64(data.replace(b"\n", b"\r\n")).encode()
        word = base64.b64encode(text.encode(codec)).decode()
        fields = (
            f"Subject: =?{label}?B?{word}?=\n"
            f"Content-Type: text/plain; charset={label}\nContent-Transfer-Encoding: {coding}"
        )
        made.append(letter(f"charset-{label.lower()}", fields, body, "charset"))
    utf16 = b64("Hello 世界\r\n".encode("utf-16"))
    wide = "Content-Type: text/plain; charset=utf-16\nContent-Transfer-Encoding: base64"
    made.append(letter("charset-utf-16", wide, utf16, "charset"))
    unknown = "Content-Type: text/plain; charset=x-unknown-9"
    made.append(letter("charset-unknown", unknown, b"What is \xa4 this\n", "charset", "8bit"))
    made.append(letter("charset-empty", 'Content-Type: text/plain; charset=""', "Text\n", "charset"))
    lying = "Content-Type: text/plain; charset=us-ascii\nContent-Transfer-Encoding: 8bit"
    made.append(letter("charset-lies", lying, "Grüße\n", "charset", "8bit"))
    wrong = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit"
    made.append(letter("charset-invalid-utf-8", wrong, b"Gr\xfc\xdfe \xff\xfe\xc3\n", "charset", "8bit"))
    return made


# name, the Subject field's body
WORDS: tuple[tuple[str, str], ...] = (
    ("q", "=?iso-8859-1?Q?Gr=FC=DFe_aus_K=F6ln?="),
    ("b", "=?utf-8?B?R3LDvMOfZQ==?="),
    ("lower-case", "=?utf-8?q?caf=c3=a9?="),
    ("adjacent", "=?utf-8?Q?one?= =?utf-8?Q?_word?=\n =?utf-8?Q?_folded?="),
    ("mixed", "Re: =?utf-8?Q?Gr=C3=BC=C3=9Fe?= and plain =?iso-8859-2?Q?za=BF=F3=B3=E6?="),
    ("split-character", "=?utf-8?B?4pyT4p?= =?utf-8?B?yT?="),
    ("language", "=?us-ascii*en-us?Q?Keith_Moore?="),
    ("glued", "x=?utf-8?Q?not_a_word?=y"),
    ("spaces-inside", "=?utf-8?Q?with spaces inside?="),
    ("unknown-charset", "=?x-klingon?Q?nuqneH?="),
    ("unknown-encoding", "=?utf-8?X?abc?="),
    ("empty", "=?utf-8?Q??= end"),
    ("bad-base64", "=?utf-8?B?R3LDvMOfZQ?="),
    ("bad-quoted", "=?utf-8?Q?=ZZ=4?="),
    ("unterminated", "=?utf-8?Q?never_ends"),
    ("too-long", "=?utf-8?Q?" + "=C3=A4" * 60 + "?="),
    ("in-quotes", '"=?utf-8?Q?quoted_word?="'),
    ("line-end-inside", "=?utf-8?Q?a=0D=0ABcc:_evil@example.org?="),
    ("nul-inside", "=?utf-8?Q?a=00b?="),
    ("emoji", "=?utf-8?B?8J+YgCDwn5Go4oCN8J+RqeKAjfCfkac=?="),
)


def _encoded_words() -> list[Sample]:
    made = [letter(f"word-{name}", f"Subject: {value}", "Text\n", "2047") for name, value in WORDS]
    people = (
        "From: =?utf-8?Q?J=C3=BCrgen_M=C3=BCller?= <juergen@example.org>\n"
        "To: =?utf-8?B?QWxpY2UgxJA=?= <alice@example.com>,\n\t=?utf-8?Q?B=C3=B6b=2C_Esq=2E?= <bob@example.com>\n"
        "Cc: <carol@example.com> (=?utf-8?Q?a_comment?=)"
    )
    made.append(letter("word-in-addresses", people, "Text\n", "2047", "address"))
    return made


def _eight_bit() -> list[Sample]:
    bare = ["MIME-Version"]
    return [
        letter("8bit-undeclared", "", b"Gr\xfc\xdfe\n", "8bit", omit=bare),
        letter("8bit-undeclared-utf-8", "", "Grüße\n", "8bit", "utf8", omit=bare),
        letter(
            "8bit-headers", b"Subject: Gr\xfc\xdfe\nFrom: J\xfcrgen <j@example.org>", "Text\n", "8bit", "2047"
        ),
        letter("utf-8-headers", "Subject: Grüße 世界\nFrom: Jürgen <jürgen@exämple.org>", "Text\n", "utf8"),
        letter("8bit-in-field-name", b"X-Gr\xfc\xdfe: yes", "Text\n", "8bit", "odd"),
        letter(
            "binary-encoding",
            "Content-Type: application/octet-stream\nContent-Transfer-Encoding: binary",
            bytes(b for b in range(1, 256) if b not in (10, 13)) + b"\n",
            "8bit",
            "odd",
        ),
        letter(
            "control-characters", "", bytes(b for b in range(1, 32) if b not in (10, 13)) + b"\x7f\n", "odd"
        ),
    ]


# name, the parameters of Content-Disposition after "attachment"
PARAMETERS: tuple[tuple[str, str], ...] = (
    ("extended", "; filename*=utf-8''na%C3%AFve%20%E2%82%AC.txt"),
    ("extended-language", "; filename*=iso-8859-1'en'%A3%20rates.txt"),
    ("continued", ';\n filename*0="a very long name that goes on ";\n filename*1="and on.txt"'),
    (
        "continued-extended",
        ";\n filename*0*=utf-8''na%C3%AF;\n filename*1*=ve%20;\n filename*2=\"plain.txt\"",
    ),
    ("out-of-order", ';\n filename*1="second.txt";\n filename*0="first-"'),
    ("with-a-gap", ';\n filename*0="a";\n filename*2="c.txt"'),
    ("both-forms", "; filename=plain.txt; filename*=utf-8''%E2%82%AC.txt"),
    ("bad-percent", "; filename*=utf-8''bad%ZZ%4.txt"),
    ("encoded-word", '; filename="=?utf-8?Q?na=C3=AFve=2Etxt?="'),
    ("encoded-word-unquoted", "; filename==?utf-8?B?bmHDr3ZlLnR4dA==?="),
    ("eight-bit", '; filename="naïve.txt"'),
    ("unquoted-spaces", "; filename=two words.txt"),
    ("no-quote-end", '; filename="never ends.txt'),
    ("trailing-semicolon", '; filename="a.txt";'),
    ("twice", '; filename="a.txt"; filename="b.txt"'),
    ("comment", '; filename="a.txt" (the first); size=1'),
    ("many", "".join(f';\n x{n}="{n}"' for n in range(300))),
)


def _parameters() -> list[Sample]:
    fields = 'Content-Type: multipart/mixed; boundary="q"'
    made = []
    for name, value in PARAMETERS:
        attached = part(f"Content-Type: text/plain\nContent-Disposition: attachment{value}", "x\n")
        made.append(letter(f"name-{name}", fields, multipart("q", PLAIN, attached), "2231", "attachment"))
    return made


def _transfer() -> list[Sample]:
    text = "Straße = 5 €, a tab\tand a very long line " + "that goes on and on " * 12 + "\n"
    soft = quopri.encodestring(text.encode()).decode() + "trailing blanks  =20\nlower =c3=a9\nbad =ZZ =\n"

    def coded(name: str, coding: str, body: str, *tags: str) -> Sample:
        fields = f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: {coding}"
        return letter(name, fields, body, "encoding", *tags)

    junk = "SGVs*bG8g\n!!\n  QWxp Y2U=\n\nignored after the end =\n"
    uu = "begin 644 hello.txt\n+2&5L;&\\L('=O<FQD\n`\nend\n"
    yenc = (
        b"=ybegin line=128 size=5 name=hello.bin\n"
        + bytes((b + 42) % 256 for b in b"hello")
        + b"\n=yend size=5\n"
    )
    return [
        coded("quoted-printable", "quoted-printable", soft),
        coded(
            "quoted-printable-trailing-blanks",
            "Quoted-Printable",
            "blank at the end   \ntab\t\nsoft= \nbreak\n",
        ),
        coded("base64-with-junk", "base64", junk, "odd"),
        coded("base64-one-line", "BASE64", b64(b"Hello " * 400, 100_000)),
        coded("base64-unpadded", "base64", "SGVsbG8gQWxpY2U\n", "odd"),
        coded("base64-empty", "base64", "", "empty"),
        coded("encoding-unknown", "x-rot13", "Uryyb\n", "odd"),
        coded("encoding-with-comment", '"7bit" (really)', "Hello\n", "odd"),
        letter("uuencoded", "", f"See below\n\n{uu}", "odd"),
        letter("yenc", "", yenc, "8bit", "odd"),
        letter(
            "multipart-base64",
            'Content-Type: multipart/mixed; boundary="z"\nContent-Transfer-Encoding: base64',
            multipart("z", PLAIN),
            "odd",
        ),
        raw("bare-lf", b"From: a@example.org\nSubject: bare LF\n\nUnix lines\nonly\n", "odd"),
        raw(
            "mixed-line-ends", b"From: a@example.org\r\nSubject: mixed\n\r\none\ntwo\r\nthree\rfour\n", "odd"
        ),
        raw("bare-cr", b"From: a@example.org\r\nSubject: bare CR\r\n\r\none\rtwo\r\r\nthree\r", "odd"),
        raw("nul", b"From: a@example.org\r\nSubject: a\x00b\r\n\r\nnul \x00 inside\r\n", "odd"),
        sample(
            "space-before-colon", "From : a@example.org\nSubject\t: blank before the colon\n\nText\n", "odd"
        ),
    ]


def _scripts() -> list[Sample]:
    def subject(text: str) -> str:
        return f"Subject: =?utf-8?B?{base64.b64encode(text.encode()).decode()}?="

    typed = "\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit"
    arabic, hebrew = "مرحبا (abc) 123", "שלום \u202eabc\u202c"
    return [
        letter("emoji", subject("🎉 Party 🎂 tonight 👩‍👩‍👧") + typed, "🎉🎂\n", "utf8"),
        letter("right-to-left", subject(arabic) + typed, f"{arabic}\n{hebrew}\n", "utf8"),
        letter("combining", subject("Cafe\u0301 Å A\u030a") + typed, "e\u0301 = é\n", "utf8"),
        letter("beyond-bmp", subject("𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠀀") + typed, "𝔘 𠀀\n", "utf8"),
        letter(
            "invisible", subject("zero\u200bwidth\ufeff and\u00a0nbsp\u00ad") + typed, "a\u200bb\n", "utf8"
        ),
    ]
