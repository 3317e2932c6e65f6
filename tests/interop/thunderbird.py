"""A real Thunderbird in a window of its own X server, driven by scripts through Marionette."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marionette_driver.errors import MarionetteException
from marionette_driver.marionette import Marionette

from interop.lab import ALICE, PASSWORD, Demo, environment, eventually, run

SCREEN = "1280x900x24"
IMAP_LOG = "timestamp,IMAP:4,SMTP:4"
SCRIPT_SECONDS = 100

# What Thunderbird is told before it starts. login_at_startup: a question for a password is modal, and would
# hold up the session that is to answer it.
QUIET: Mapping[str, Any] = {
    "app.donation.eoy.version.viewed": 999,
    "app.update.auto": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.downloads.remote.enabled": False,
    "calendar.timezone.local": "UTC",
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "mail.biff.play_sound": False,
    "mail.biff.show_alert": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.rights.version": 1,
    "mail.shell.checkDefaultClient": False,
    "mail.spam.manualMark": False,
    "mail.spotlight.firstRunDone": True,
    "mail.inappnotifications.enabled": False,
    "mail.warn_on_send_accel_key": False,
    "mailnews.message_display.disable_remote_image": True,
    "mailnews.start_page.enabled": False,
    "mailnews.start_page_override.mstone": "ignore",
    "messenger.options.getAttachmentsOnStartup": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.unified": False,
}


def preferences(demo: Demo, user: str) -> dict[str, Any]:
    """One IMAP account with its submission server, both over TLS, and the local folders Thunderbird wants."""
    server, smtp, identity = "mail.server.server1", "mail.smtpserver.smtp1", "mail.identity.id1"
    return {
        "mail.accountmanager.accounts": "account1,account2",
        "mail.accountmanager.defaultaccount": "account1",
        "mail.accountmanager.localfoldersserver": "server2",
        "mail.account.account1.server": "server1",
        "mail.account.account1.identities": "id1",
        "mail.account.account2.server": "server2",
        "mail.account.lastKey": 2,
        f"{server}.type": "imap",
        f"{server}.hostname": "localhost",
        f"{server}.port": demo.ports["imaps"],
        f"{server}.userName": user,
        f"{server}.name": user,
        f"{server}.socketType": 3,
        f"{server}.authMethod": 3,
        f"{server}.login_at_startup": False,
        f"{server}.check_new_mail": False,
        f"{server}.offline_download": False,
        f"{server}.fetch_by_chunks": True,
        "mail.server.server2.type": "none",
        "mail.server.server2.hostname": "Local Folders",
        "mail.server.server2.userName": "nobody",
        "mail.server.server2.name": "Local Folders",
        f"{identity}.useremail": user,
        f"{identity}.fullName": "Alice Example",
        f"{identity}.valid": True,
        f"{identity}.smtpServer": "smtp1",
        f"{identity}.compose_html": False,
        "mail.smtpservers": "smtp1",
        "mail.smtp.defaultserver": "smtp1",
        f"{smtp}.hostname": "localhost",
        f"{smtp}.port": demo.ports["smtps"],
        f"{smtp}.username": user,
        f"{smtp}.try_ssl": 3,
        f"{smtp}.authMethod": 3,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Screen:
    """An X server without a screen; `display` as DISPLAY has it."""

    process: subprocess.Popen[bytes]
    display: str

    @classmethod
    def start(cls) -> Screen:
        reading, writing = os.pipe()
        argv = ["Xvfb", "-displayfd", str(writing), "-screen", "0", SCREEN, "-nolisten", "tcp"]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(argv, pass_fds=(writing,), stdout=quiet, stderr=quiet)
        os.close(writing)
        with os.fdopen(reading) as told:
            number = told.readline().strip()
        assert number, "Xvfb did not start"
        return cls(process, f":{number}")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Thunderbird:
    """One Thunderbird, its profile and its session. `shots`: where pictures of its screen go."""

    def __init__(self, demo: Demo, home: Path, shots: Path, user: str = ALICE) -> None:
        self.demo, self.home, self.shots, self.user = demo, home, shots, user
        self.screen = Screen.start()
        self.log = home / "thunderbird.log"
        try:
            self.process, port = self._launch()
            self.session = self._connect(port)
        except BaseException:
            self.end()
            raise
        self._sign_in()

    def _launch(self) -> tuple[subprocess.Popen[bytes], int]:
        profile, port = self.home / "profile", free_port()
        profile.mkdir(parents=True)
        wanted = {**QUIET, **preferences(self.demo, self.user), "marionette.port": port}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in wanted.items()]
        (profile / "user.js").write_text("".join(lines))
        env = environment(self.home) | {
            "DISPLAY": self.screen.display, "MOZ_LOG": IMAP_LOG, "MOZ_LOG_FILE": str(self.home / "moz"),
            "MOZ_CRASHREPORTER_DISABLE": "1", "MOZ_DISABLE_CONTENT_SANDBOX": "1", "NO_AT_BRIDGE": "1",
            "LIBGL_ALWAYS_SOFTWARE": "1", "GDK_BACKEND": "x11",
        }  # fmt: skip
        argv = [
            "thunderbird",
            "--marionette",
            "--remote-allow-system-access",
            "--no-remote",
            "--profile",
            str(profile),
        ]
        with self.log.open("wb") as out:
            # The program is a shell that starts another: a process group of its own, to end both.
            process = subprocess.Popen(
                argv, env=env, cwd=self.home, stdout=out, stderr=out, start_new_session=True
            )
        return process, port

    def _connect(self, port: int) -> Marionette:
        def listening() -> bool:
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(listening, 90)
        session = Marionette(host="127.0.0.1", port=port, socket_timeout=SCRIPT_SECONDS + 30)
        session.start_session()
        session.set_context("chrome")
        session.timeout.script = SCRIPT_SECONDS
        return session

    def _sign_in(self) -> None:
        """Trust the demo's authority, and hold the passwords in memory."""
        der = ssl.PEM_cert_to_DER_cert(Path(self.demo.ca_file).read_text())
        self.script(
            """
            Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
              .addCertFromBase64(args[0], "CT,,");
            server.password = args[1];
            MailServices.outgoingServer.servers[0].password = args[1];
            """,
            base64.b64encode(der).decode(),
            PASSWORD,
        )

    def script(self, body: str, *args: Any) -> Any:
        """What an async function with this body returns, as JSON; `args` and the names of SCRIPT are there."""
        made = SCRIPT.replace("/*BODY*/", body)
        try:
            answer = self.session.execute_async_script(made, script_args=list(args), new_sandbox=True)
        except MarionetteException as error:
            raise AssertionError(f"in Thunderbird: {error}") from None
        assert "error" not in answer, f"in Thunderbird: {answer['error']}\n{self.protocol()[-3000:]}"
        return answer["value"]

    def shot(self, name: str) -> Path:
        """A picture of the whole screen, once it is painted."""
        self.script("await new Promise(r => win.requestAnimationFrame(r)); await sleep(400)")
        target = self.shots / f"thunderbird-{name}.png"
        run(["import", "-display", self.screen.display, "-window", "root", target], self.home)
        return target

    def protocol(self) -> str:
        """Its own log of IMAP and SMTP."""
        logs = sorted(self.home.glob("moz*.moz_log"))
        return "".join(path.read_text(errors="replace") for path in logs)

    def end(self) -> None:
        if hasattr(self, "process"):
            self._end_group()
        self.screen.end()

    def _end_group(self) -> None:
        """The profile is thrown away: nothing is to be saved."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                continue


SCRIPT = """
const args = Array.from(arguments);
const answer = args.pop();
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const { setTimeout } = ChromeUtils.importESModule("resource://gre/modules/Timer.sys.mjs");
const server = MailServices.accounts.accounts.map(a => a.incomingServer).find(s => s.type == "imap");
const root = server.rootFolder;
const identity = MailServices.accounts.getFirstIdentityForServer(server);
const win = Services.wm.getMostRecentWindow("mail:3pane");
const sleep = ms => new Promise(done => setTimeout(done, ms));
const until = async (check, what = String(check)) => {
  for (const end = Date.now() + 20_000; Date.now() < end; await sleep(100)) {
    const value = await check();
    if (value) return value;
  }
  throw new Error("not within 20 s: " + what);
};
const all = () => root.descendants;
const folder = name => all().find(f => f.localizedName == name || f.name == name || f.URI == name);
const pane = () => win.document.getElementById("tabmail").currentAbout3Pane;
const messages = f => Array.from(f.messages);
const message = (f, subject) => messages(f).find(m => m.mime2DecodedSubject == subject);
// A promise that keeps the URL listener's end, and the listener.
const ended = start => new Promise((done, failed) => start({
  QueryInterface: ChromeUtils.generateQI(["nsIUrlListener", "nsIMsgCopyServiceListener"]),
  OnStartRunningUrl() {},
  OnStopRunningUrl(url, status) { status ? failed(new Error("url failed: " + status)) : done(true); },
  onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return null; },
  onStopCopy(status) { status ? failed(new Error("copy failed: " + status)) : done(true); },
}));
// Thunderbird forgets a listener where it has to queue the request behind another: hence no more than 3 s.
const updated = async f => {
  const asked = ended(l => f.QueryInterface(Ci.nsIMsgImapMailFolder).updateFolderWithListener(win.msgWindow, l));
  await Promise.race([asked.catch(() => {}), sleep(3000)]);
};
const arrived = (f, subject) => until(async () => message(f, subject) ?? void await updated(f), subject);
// The one window of a type that is open, once it is there.
const opened = type => until(() => Services.wm.getMostRecentWindow(type), type);
(async () => { /*BODY*/ })().then(
  value => answer({ value: value === undefined ? null : value }),
  error => answer({ error: String(error) + " " + (error?.stack ?? "") }),
);
"""
