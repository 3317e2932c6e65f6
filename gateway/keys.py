"""Certificates and credentials that a configuration names: opened, checked, and made into how to sign in to Graph."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

from gateway.config import AccountSection, Config, ConfigError, GraphSection
from gateway.graph.seal import Sealed
from gateway.graph.token import (
    DELEGATED,
    SEND_AS,
    SHARED,
    SignIn,
    app_scopes,
    delegated_scopes,
    new_sealed_file,
)


def tls_context(config: Config) -> ssl.SSLContext | None:
    """For the listeners; None without a certificate. ConfigError if it cannot be used."""
    if config.tls.certificate is None or config.tls.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls.certificate, config.tls.key)
    except (OSError, ssl.SSLError) as error:
        names = f"{config.tls.certificate}, {config.tls.key}"
        raise ConfigError(f"tls.certificate, tls.key: {names}: cannot be used: {_reason(error)}") from error
    return context


def check_files(config: Config) -> None:
    """ConfigError if a file that the configuration names cannot be used, or what signing in needs is missing."""
    tls_context(config)
    if config.accounts and not config.graph.client_id:
        raise ConfigError("graph.client_id: this key is needed: the application registered in Entra ID")
    if any(account.auth == "app" for account in config.accounts):
        _credential(config.graph)
    if config.graph.ca_file is not None:
        _authorities(config.graph.ca_file)


def _authorities(path: Path) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"graph.ca_file: {path}: cannot be used: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def app_sign_in(graph: GraphSection) -> SignIn:
    """Client credentials: a secret or a certificate."""
    return SignIn(
        authority=graph.authority, client_id=graph.client_id, scopes=tuple(app_scopes(graph.base_url)),
        credential=_credential(graph), ca_file=graph.ca_file,
    )  # fmt: skip


def delegated_sign_in(graph: GraphSection, account: AccountSection) -> SignIn:
    """What `gateway account login` got, refreshed silently."""
    more = SHARED if account.shared else SEND_AS if account.senders else ()
    return SignIn(
        authority=graph.authority, client_id=graph.client_id, ca_file=graph.ca_file,
        scopes=tuple(delegated_scopes(graph.base_url, (*DELEGATED, *more))),
    )  # fmt: skip


def _credential(graph: GraphSection) -> str | Mapping[str, str]:
    if graph.certificate_file is not None:
        return _certificate(graph.certificate_file)
    try:
        secret = graph.secret()
    except OSError as error:
        raise ConfigError(
            f"graph.client_secret_file: {error.filename}: cannot be read: {_reason(error)}"
        ) from error
    if not secret:
        raise ConfigError(
            'graph.client_secret, client_secret_file or certificate_file is needed for auth = "app"'
        )
    return secret


def _certificate(path: Path) -> Mapping[str, str]:
    """A PEM file with private key and certificate, as msal wants it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    try:
        pem = path.read_text()
        thumbprint = x509.load_pem_x509_certificate(pem.encode()).fingerprint(hashes.SHA1())  # noqa: S303  (its name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"graph.certificate_file: {path}: not a PEM certificate with its key") from error
    return {"private_key": pem, "thumbprint": thumbprint.hex(), "public_certificate": pem}


def token_cache(state: Path, key: bytes, user: str) -> Sealed:
    """Where a delegated account's refresh token is kept, encrypted."""
    name = f"token-{user.lower()}"
    safe = "".join(c if c.isalnum() or c in "-.@" else "_" for c in name)
    return new_sealed_file(state / "tokens" / safe, key, name)
