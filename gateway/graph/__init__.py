"""Microsoft Graph's mail API as typed calls: tokens, throttling, retries, batches, delta. No mail logic."""

import sys
from importlib.util import find_spec

# httpcore imports sniffio for each lock it makes, six times a request. Where it is not installed, looking for it along
# the whole path takes a tenth of a millisecond each time: "not there" is remembered instead.
if "sniffio" not in sys.modules and find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]
