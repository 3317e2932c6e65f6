"""Filling the mailboxes at start: the corpus once, then repeated with variation, reproducible by a seed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.emulator import corpus, post
from gateway.emulator.api import World
from gateway.emulator.corpus import Sample
from gateway.emulator.items import CATEGORIES, FLAG, READ, Item
from gateway.emulator.mailbox import Mailbox
from gateway.emulator.tenant import Tenant

YEARS: Final = 6 * 365 * 86400.0
RECENT: Final = 3600.0  # the newest message is this old, in seconds
EVERYDAY_WEIGHT: Final = 8
LAGS: Final = ("delta_lag_seconds", "counts_lag_seconds", "search_lag_seconds")
VARIED_BYTES: Final = 100_000
CATEGORY_NAMES: Final = ("Red category", "Blue category", "Project Alpha")

# folder below the inbox's siblings -> how many messages
SIDE_FOLDERS: Final[dict[str, int]] = {"sentitems": 5, "archive": 5, "junkemail": 3, "deleteditems": 3}
OWN_FOLDERS: Final[tuple[tuple[str, ...], ...]] = (("Projects",), ("Projects", "Alpha"), ("Reisen & Fotos",))


@dataclass(frozen=True, slots=True)
class Letter:
    """One message to deliver: a sample and the number of its variant, 0 for the sample itself."""

    sample: Sample
    number: int


def fill(tenant: Tenant, messages: int, seed: int) -> None:
    """Put `messages` into the first user's inbox and a few elsewhere; nothing anywhere for 0.

    Dates of receipt rise over six years up to an hour ago; about two thirds are read, some flagged or
    categorised. 100,000 take seconds: variants share their sample's bytes.
    """
    if messages <= 0:
        return
    rng = random.Random(seed)  # noqa: S311
    first, *others = tenant.users()
    with _without_lag(tenant.world):
        _deliver(tenant.box(first), "inbox", plan(messages, rng), rng)
        _fill_side_folders(tenant, first, rng)
        for upn in others:
            _deliver(tenant.box(upn), "inbox", plan(min(messages, 5), rng), rng)
    for upn in (first, *others):
        _settle(tenant.box(upn))


@contextlib.contextmanager
def _without_lag(world: World) -> Iterator[None]:
    """What was there before the emulator started has no history to be late with."""
    before = {name: world.limits.get(name, 0.0) for name in LAGS}
    world.limits.update(dict.fromkeys(LAGS, 0.0))
    try:
        yield
    finally:
        world.limits.update(before)


def _settle(box: Mailbox) -> None:
    """Counts are what they are from the first look on, not what they were during the filling."""
    for folder in box.folders.values():
        folder.history.clear()
        folder.recount(0.0)


def plan(messages: int, rng: random.Random) -> list[Letter]:
    """Which samples make up a folder of so many: each once in the corpus's order, then variants, of which
    the everyday shapes are the most frequent."""
    samples = corpus.deliverable()
    letters = [Letter(sample, 0) for sample in samples[:messages]]
    pool = [s for s in samples if len(s.data) <= VARIED_BYTES and "smime-opaque" not in s.tags]
    weights = [EVERYDAY_WEIGHT if _everyday(s) else 1 for s in pool]
    more = rng.choices(pool, weights, k=max(0, messages - len(letters)))
    return letters + [Letter(sample, number) for number, sample in enumerate(more, 1)]


def _everyday(sample: Sample) -> bool:
    return bool(sample.tags & {"text", "html", "multipart", "attachment"}) and not sample.tags & {
        "odd",
        "broken",
        "deep",
        "wide",
        "large",
        "2231",
    }


def _deliver(box: Mailbox, folder: str, letters: Sequence[Letter], rng: random.Random) -> None:
    newest = box.now() - RECENT
    step = YEARS / max(len(letters), 1)
    for index, letter in enumerate(letters):
        received = int(newest - (len(letters) - 1 - index) * step)
        item = post.deliver_variant(box, folder, letter.sample.data, letter.number, received)
        _mark(box, item, rng)


def _mark(box: Mailbox, item: Item, rng: random.Random) -> None:
    """Read, flag and categorise some."""
    chance = rng.random()
    if chance < 0.65:
        box.edit(item, READ)
        box.set_read(item, True)
    if chance < 0.05:
        box.edit(item, FLAG).flag = {"flagStatus": "flagged"}
    elif 0.6 < chance < 0.7:
        box.edit(item, CATEGORIES).categories = (rng.choice(CATEGORY_NAMES),)


def _fill_side_folders(tenant: Tenant, upn: str, rng: random.Random) -> None:
    box = tenant.box(upn)
    plain = [s for s in corpus.deliverable() if _everyday(s)]
    counts = dict(SIDE_FOLDERS)
    made: dict[tuple[str, ...], str] = {(): "msgfolderroot"}
    for path in OWN_FOLDERS:
        made[path] = tenant.outlook_folder(upn, made[path[:-1]], path[-1])
        counts[made[path]] = 4
    number = 1_000_000
    for folder, count in counts.items():
        letters = [Letter(rng.choice(plain), number + n) for n in range(count)]
        number += count
        _deliver(box, folder, letters, rng)
