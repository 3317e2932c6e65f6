"""The folders every mailbox has: well-known name, class, localised display name (contract 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Special:
    """One folder made with the mailbox. `parent` is a well-known name too."""

    name: str
    display: str
    parent: str
    hidden: bool = False
    kind: str = "IPF.Note"
    non_mail: int = 0


ROOT: Final = "msgfolderroot"
DUMPSTER: Final = frozenset({"recoverableitemsroot", "recoverableitemsdeletions", "recoverableitemspurges"})

SPECIALS: Final[tuple[Special, ...]] = (
    Special("root", "Root", "", True, ""),
    Special(ROOT, "Top of Information Store", "root"),
    Special("inbox", "Inbox", ROOT),
    Special("drafts", "Drafts", ROOT),
    Special("sentitems", "Sent Items", ROOT),
    # Deleted appointments and contacts live here too: counted, never listed.
    Special("deleteditems", "Deleted Items", ROOT, non_mail=2),
    Special("junkemail", "Junk Email", ROOT),
    Special("outbox", "Outbox", ROOT),
    Special("archive", "Archive", ROOT),
    Special("conversationhistory", "Conversation History", ROOT),
    Special("calendar", "Calendar", "root", True, "IPF.Appointment", 3),
    Special("contacts", "Contacts", "root", True, "IPF.Contact", 1),
    Special("tasks", "Tasks", "root", True, "IPF.Task"),
    Special("syncissues", "Sync Issues", ROOT, True),
    Special("conflicts", "Conflicts", "syncissues", True),
    Special("localfailures", "Local Failures", "syncissues", True),
    Special("serverfailures", "Server Failures", "syncissues", True),
    Special("searchfolders", "Finder", "root", True),
    Special("scheduled", "Scheduled", "root", True),
    Special("recoverableitemsroot", "Recoverable Items", "root", True),
    Special("recoverableitemsdeletions", "Deletions", "recoverableitemsroot", True),
    Special("recoverableitemspurges", "Purges", "recoverableitemsroot", True),
)

NAMES: Final = frozenset(s.name for s in SPECIALS) | {"clutter"}

LOCALISED: Final[dict[str, dict[str, str]]] = {
    "de": {
        "inbox": "Posteingang",
        "drafts": "Entwürfe",
        "sentitems": "Gesendete Elemente",
        "deleteditems": "Gelöschte Elemente",
        "junkemail": "Junk-E-Mail",
        "outbox": "Postausgang",
        "archive": "Archiv",
        "conversationhistory": "Aufgezeichnete Unterhaltungen",
        ROOT: "Oberste Ebene des Informationsspeichers",
    },
    "fr": {
        "inbox": "Boîte de réception",
        "drafts": "Brouillons",
        "sentitems": "Éléments envoyés",
        "deleteditems": "Éléments supprimés",
        "junkemail": "Courrier indésirable",
        "outbox": "Boîte d'envoi",
        "archive": "Archive",
        "conversationhistory": "Historique des conversations",
        ROOT: "Banque d'informations",
    },
    "ja": {
        "inbox": "受信トレイ",
        "drafts": "下書き",
        "sentitems": "送信済みアイテム",
        "deleteditems": "削除済みアイテム",
        "junkemail": "迷惑メール",
        "outbox": "送信トレイ",
        "archive": "アーカイブ",
        "conversationhistory": "会話の履歴",
        ROOT: "インフォメーション ストアの先頭",
    },
}


def display_name(special: Special, language: str) -> str:
    """The display name in the mailbox's language (`de`, `de-DE`), English where there is no translation."""
    return LOCALISED.get(language.lower().split("-")[0], {}).get(special.name, special.display)
