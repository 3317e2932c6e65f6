"""What can be wrong with the store itself. A store that cannot answer now is `core.errors.Unavailable`.

```
StoreError
├── SchemaTooNew   written by a newer program: it is left alone
├── WrongKey       the state key is not the one the store was made with
└── Damaged        sealed octets do not open: changed on disk, or moved to another row
```
"""

from __future__ import annotations


class StoreError(Exception):
    """Base. The text names files and numbers, never content or keys."""


class SchemaTooNew(StoreError):
    pass


class WrongKey(StoreError):
    pass


class Damaged(StoreError):
    pass
