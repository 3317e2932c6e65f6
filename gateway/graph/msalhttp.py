"""The HTTP client that msal is given: httpx with time-outs and our CA file. Blocking."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx

CONNECT_TIMEOUT = 10.0
TIMEOUT = 30.0


def tls_context(ca_file: str | Path | None) -> ssl.SSLContext | bool:
    """Trust `ca_file` only where one is given, else the usual authorities."""
    return ssl.create_default_context(cafile=str(ca_file)) if ca_file else True


def _as_text(form: Any) -> Any:
    """msal's client assertion is bytes, which httpx would send as their Python representation."""
    if not isinstance(form, dict):
        return form
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in form.items()}


class MsalHttp:
    """`get` and `post` as msal calls them (a subset of the interface of `requests`)."""

    def __init__(
        self, ca_file: str | Path | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._client = httpx.Client(
            verify=tls_context(ca_file),
            timeout=httpx.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT),
            transport=transport,
        )

    def get(
        self, url: str, params: Any = None, headers: dict[str, str] | None = None, **_: Any
    ) -> httpx.Response:
        return self._client.get(url, params=params, headers=headers)

    def post(
        self, url: str, params: Any = None, data: Any = None, headers: dict[str, str] | None = None, **_: Any
    ) -> httpx.Response:
        if isinstance(data, (str, bytes)):
            return self._client.post(url, params=params, content=data, headers=headers)
        return self._client.post(url, params=params, data=_as_text(data), headers=headers)

    def close(self) -> None:
        self._client.close()
