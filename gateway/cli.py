"""The command line: `gateway demo|serve|check-config|emulator|version|account|queue`.

Every failure is one line on standard error that says what to do, and exit status 2 (1 for a refused check).
"""

from __future__ import annotations

import asyncio
import errno
import getpass
import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from sqlite3 import DatabaseError
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
import uvloop
from rich.console import Console

from gateway import __version__
from gateway.allocator import keep_large_apart
from gateway.app import Gateway, StartError, configure_logging
from gateway.config import AccountSection, Config, ConfigError, load
from gateway.core.errors import Unavailable
from gateway.database import OpenError, living
from gateway.demo import demo_config, instructions
from gateway.graph.errors import GraphError
from gateway.graph.token import DevicePrompt, device_login
from gateway.keys import check_files, delegated_sign_in, token_cache
from gateway.mailbox.credentials import MAX_PASSWORD, hash_password, scram_of
from gateway.outbox import Outbox, OutboxError, opened
from gateway.store.errors import StoreError
from gateway.store.keyfile import load_or_create_key, private_folder

if TYPE_CHECKING:
    from gateway.emulator.serve import RunningEmulator

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
account = typer.Typer(no_args_is_help=True, help="Passwords and sign-in of accounts.")
app.add_typer(account, name="account")
queue = typer.Typer(
    no_args_is_help=True, help="Mail that is accepted and not sent yet (submission.mode = queue)."
)
app.add_typer(queue, name="queue")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ConfigFile = Annotated[Path, typer.Option("--config", help="TOML configuration file.")]
ReadyFile = Annotated[Path | None, typer.Option(help="Write this JSON file when everything listens.")]

A = TypeVar("A")
B = TypeVar("B")

console = Console(highlight=False, stderr=True)


def main() -> None:
    """The console script."""
    try:
        app()
    except (ConfigError, StartError) as error:
        fail(str(error))
    except (StoreError, DatabaseError, Unavailable) as error:
        fail(f"the state folder cannot be used: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{error.strerror or error}")


def fail(text: str, status: int = 2) -> NoReturn:
    print(f"gateway: {text}", file=sys.stderr)
    raise SystemExit(status)


def say(value: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(value) if as_json else text)


@app.command()
def version(as_json: Json = False) -> None:
    """Print the version."""
    say({"version": __version__}, __version__, as_json)


@app.command("check-config")
def check_config(config: ConfigFile, as_json: Json = False) -> None:
    """Read a configuration file and say what is wrong with it, line by line."""
    try:
        loaded = load(config)
        check_files(loaded)
    except ConfigError as error:
        if as_json:
            say({"ok": False, "problems": str(error).splitlines()}, "", True)
            raise SystemExit(1) from error
        fail(str(error), 1)
    count = len(loaded.accounts)
    say({"ok": True, "accounts": count}, f"{config}: fine, {count} account{'s' * (count != 1)}", as_json)


@app.command()
def serve(config: ConfigFile, ready_file: ReadyFile = None) -> None:
    """Run the gateway until SIGTERM."""
    loaded = load(config)
    check_files(loaded)
    configure_logging(loaded.log.level, loaded.log.format)
    keep_large_apart()
    uvloop.run(_serve(loaded, ready_file, {}))


@app.command()
def nodes(config: ConfigFile, as_json: Json = False) -> None:
    """List the gateways that live on this database, and whose background work each does."""
    try:
        found = asyncio.run(living(load(config).store))
    except OpenError as error:
        fail(f"store.url: {error}")
    lines = [
        f"{each['name']} (node {each['node']}): background work of {each['duties']} accounts, {each['slots']} calls"
        f" at once, {each['work']} under way; {each['left']:.0f} s left"
        for each in found
    ]
    say({"nodes": found}, "\n".join(lines) or "none", as_json)


async def _serve(
    config: Config,
    ready_file: Path | None,
    extra: dict[str, Any],
    said: Callable[[Gateway], None] | None = None,
) -> None:
    gateway = Gateway(config)
    stop = _on_signals()
    await gateway.start()
    try:
        if said is not None:
            said(gateway)
        if ready_file is not None:
            _write_ready(ready_file, gateway, extra)
        await stop.wait()
    finally:
        await gateway.stop()


def _on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _write_ready(path: Path, gateway: Gateway, extra: dict[str, Any]) -> None:
    """Readers see the whole file or none."""
    ports = gateway.ports
    value = {
        "pid": os.getpid(),
        "ports": {"imap": ports.imap, "imaps": ports.imaps, "smtp": ports.smtp, "smtps": ports.smtps, "web": ports.web},
        "relays": ports.relays,
        **extra,
    }  # fmt: skip
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    draft.write_text(json.dumps(value))
    draft.replace(path)


@app.command()
def demo(
    host: str = "127.0.0.1",
    imap_port: int = 1143,
    imaps_port: int = 1993,
    smtp_port: int = 1587,
    smtps_port: int = 1465,
    graph_port: int = 8443,
    web_port: int = 8080,
    messages: int = 500,
    state: Annotated[Path | None, typer.Option(help="State folder; default: a temporary one.")] = None,
    rtt_ms: float = 0,
    service_ms: float = 0,
    item_us: float = 0,
    ready_file: ReadyFile = None,
    log_level: str = "warning",
    as_json: Json = False,
) -> None:
    """Run the emulator and a gateway in front of it, with mail to try a mail program on."""
    from gateway.emulator.serve import EmulatorOptions, EmulatorThread  # what `serve` need not wait for

    configure_logging(log_level, "console" if sys.stderr.isatty() else "json")
    with ExitStack() as stack:
        folder = state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-demo-")))
        private_folder(folder)
        options = EmulatorOptions(
            host=host, port=graph_port, messages=messages, rtt_ms=rtt_ms, service_ms=service_ms, item_us=item_us,
            state_dir=folder / "emulator",
        )  # fmt: skip
        with console.status("filling the emulated mailboxes"):
            emulator = _taking(
                f"{host}:{graph_port} (--graph-port)", stack.enter_context, EmulatorThread(options)
            )
        ports = {
            "imap": imap_port,
            "imaps": imaps_port,
            "smtp": smtp_port,
            "smtps": smtps_port,
            "web": web_port,
        }
        config = demo_config(emulator.describe(), host, ports, folder)
        extra = _demo_facts(emulator)
        uvloop.run(
            _serve(config, ready_file, extra, lambda gateway: _introduce(gateway, extra, host, as_json))
        )


def _demo_facts(emulator: RunningEmulator) -> dict[str, Any]:
    return {
        "users": emulator.tenant.users(),
        "password": "demo",
        "ca_file": emulator.ca_file,
        "emulator": emulator.base_url,
        "emulator_url": emulator.base_url,
    }


def _introduce(gateway: Gateway, facts: dict[str, Any], host: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ready": True, **facts}), flush=True)
    else:
        print(instructions(gateway.ports, facts, host), flush=True)


@app.command()
def emulator(
    host: str = "127.0.0.1",
    port: int = 8443,
    http: Annotated[bool, typer.Option("--http", help="Plain HTTP.")] = False,
    messages: int = 500,
    users: int = 3,
    seed: int = 1,
    rtt_ms: float = 0,
    service_ms: float = 0,
    item_us: float = 0,
    webhook_ca: Annotated[
        Path | None, typer.Option(help="PEM: whom to trust when posting notifications.")
    ] = None,
    ready_file: ReadyFile = None,
    as_json: Json = False,
) -> None:
    """Run only the emulator of the Graph mail API."""
    from gateway.emulator.serve import EmulatorOptions, run

    options = EmulatorOptions(
        host=host, port=port, http=http, messages=messages, users=users, seed=seed, rtt_ms=rtt_ms,
        service_ms=service_ms, item_us=item_us, ready_file=ready_file, webhook_ca=webhook_ca,
    )  # fmt: skip

    def said(running: RunningEmulator) -> None:
        facts = running.describe()
        text = "\n".join(f"{name:17} {value}" for name, value in facts.items())
        print(json.dumps(facts) if as_json else text, flush=True)

    _taking(f"{host}:{port} (--port)", asyncio.run, run(options, said))


def _taking(place: str, run: Callable[[A], B], argument: A) -> B:
    """`run(argument)`, which listens at `place`."""
    try:
        return run(argument)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise StartError(
            f"{place} is taken by another program; stop that one or choose another port"
        ) from error


@account.command("hash")
def account_hash(
    scram: Annotated[bool, typer.Option(help="With a SCRAM-SHA-256 verifier.")] = True, as_json: Json = False
) -> None:
    """Read a password (from the terminal, or one line of standard input) and print what password_hash takes: an
    argon2id hash and a SCRAM-SHA-256 verifier. SCRAM is offered where every account has one."""
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if not 0 < len(password.encode()) <= MAX_PASSWORD:
        fail(f"a password has 1 to {MAX_PASSWORD} octets")
    hashed = hash_password(password, scram=scram)
    if scram and scram_of(hashed) is None:
        print("gateway: SCRAM cannot carry this password's characters: without verifier", file=sys.stderr)
    say({"password_hash": hashed}, hashed, as_json)


@account.command("login")
def account_login(user: str, config: ConfigFile, as_json: Json = False) -> None:
    """Sign a delegated account in by device code; the refresh token is kept encrypted in the state folder."""
    loaded = load(config)
    check_files(loaded)
    entry = _delegated(loaded, user, config)
    private_folder(loaded.state.dir)
    key = load_or_create_key(loaded.state.dir / "key")
    _run(_login(loaded, key, entry, as_json))


def _delegated(config: Config, user: str, path: Path) -> AccountSection:
    entry = next((entry for entry in config.accounts if entry.user.lower() == user.lower()), None)
    if entry is None:
        known = ", ".join(entry.user for entry in config.accounts) or "none"
        fail(f"no account {user!r} in {path}; there are: {known}")
    if entry.auth != "delegated":
        fail(f'account {user!r} has auth = "{entry.auth}"; only auth = "delegated" signs in')
    return entry


async def _login(config: Config, key: bytes, entry: AccountSection, as_json: bool) -> None:
    sealed = token_cache(config.state.dir, key, entry.user)
    async for step in device_login(delegated_sign_in(config.graph, entry), sealed):
        if isinstance(step, DevicePrompt):
            text = f"Open {step.url} and enter {step.code}"
            say({"url": step.url, "code": step.code, "expires_in": step.expires_in}, text, as_json)
            sys.stdout.flush()
        else:
            say({"signed_in": step.username}, f"signed in as {step.username}", as_json)


def _run(work: Awaitable[None]) -> None:
    try:
        asyncio.run(_awaited(work))
    except GraphError as error:
        fail(f"sign-in failed: {error}")


async def _awaited(work: Awaitable[None]) -> None:
    await work


@queue.command("list")
def queue_list(config: ConfigFile, as_json: Json = False) -> None:
    """What is accepted and not sent, oldest first in each mailbox."""
    found = _queue(config, lambda outbox: outbox.listed())
    lines = [
        f"{each['queue_id']}  {each['accepted']}  {each['account']}  {each['size']} octets, "
        f"{each['recipients_count']} recipients, {each['attempts']} tries  {each['error'] or each['state']}"
        for each in found
    ]
    say({"queue": found}, "\n".join(lines) or "the queue is empty", as_json)


@queue.command("show")
def queue_show(queue_id: str, config: ConfigFile, as_json: Json = False) -> None:
    """All that is known of one message."""
    found = _queue(config, lambda outbox: outbox.shown(queue_id))
    say(found, "\n".join(f"{name:17} {value}" for name, value in found.items()), as_json)


@queue.command("retry")
def queue_retry(queue_id: str, config: ConfigFile, as_json: Json = False) -> None:
    """Try one message within a minute; those before it in its mailbox go first."""
    count = _queue(config, lambda outbox: outbox.hasten(queue_id))
    say({"hastened": count}, f"{queue_id} is due", as_json)


@queue.command("flush")
def queue_flush(config: ConfigFile, as_json: Json = False) -> None:
    """Try all messages within a minute."""
    count = _queue(config, lambda outbox: outbox.hasten())
    say({"hastened": count}, f"{count} due", as_json)


@queue.command("drop")
def queue_drop(queue_id: str, config: ConfigFile, as_json: Json = False) -> None:
    """Take one message out: it is not sent, and its sender is not told."""
    _queue(config, lambda outbox: outbox.drop(queue_id))
    say({"dropped": queue_id}, f"{queue_id} is dropped", as_json)


def _queue(config: Path, work: Callable[[Outbox], Coroutine[Any, Any, A]]) -> A:
    async def run() -> A:
        async with opened(load(config)) as outbox:
            return await work(outbox)

    try:
        return asyncio.run(run())
    except OutboxError as error:
        fail(str(error), 1)
