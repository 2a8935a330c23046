"""Who is measured. Each start is a fresh relay: an empty spool, processes of its own in a cgroup of its own, all mail routed to the sink."""
import contextlib
import os
import re
import resource
import tempfile
import time

from lib.bigqueue import Queue
from lib.client import greets
from lib.paths import build_says, is_testing_build
from lib.postfix import Postfix
from lib.sasl import Sasl, available as sasl_available
from lib.site import Site

from .cases import LOGIN
from .meters import Cgroup, Processes

DOMAINS = ("dest.test", "source.test")
SPARE = 500  # sessions and descriptors beside those of the load


class Impossible(Exception):
    """This peer cannot do this case here; says why."""


class Peer:
    """Something that takes mail: `address`, and `processes` to look at, where that is possible."""

    name = kind = address = processes = None

    def __init__(self, bench, case, variant):
        self.bench, self.case, self.variant = bench, case, variant
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *what):
        return self.stack.__exit__(*what)

    def start(self):
        """Raises Impossible."""

    def held(self):
        """Messages in its queues; None: nobody knows."""

    def mark(self):
        """For put_off: from now on."""

    def put_off(self, mark):
        """What explains a rate: recipients that were to wait for another try, and why; empty: none, or nobody knows."""
        return ""


class Raw(Peer):
    """No relay: the load goes straight to the sink. What the instruments can do."""

    name = kind = "raw"

    def __init__(self, bench, case, variant):
        super().__init__(bench, case, variant)
        self.address = f"127.0.0.1:{bench.sink_port}"


class Smx(Peer):
    """A private site."""

    name = kind = "smx"

    def start(self):
        case, o = self.case, self.bench.o
        if case.faults and not is_testing_build():
            raise Impossible("needs a build with --enable-testing")
        if case.auth and not (sasl_available() and build_says("#define SM_HAVE_SASL 1")):
            raise Impossible("needs saslpasswd2 and a build with Cyrus SASL")
        settings = {**self._settings(), **self.variant.settings, **o.set}
        site = Site(routes=[f"{d} {self.bench.sink_port}^esmtp:[127.0.0.1]" for d in DOMAINS], relay=[] if case.auth else DOMAINS[:1], settings=settings,
                    environment={"SM_FAULTS": case.faults} if case.faults else None)
        cgroup = Cgroup()
        self.stack.callback(cgroup.remove)
        usual, site.prefix = site.prefix, [*cgroup.prefix(), *site.prefix]
        self.stack.enter_context(site)
        site.prefix = usual  # qmgrctl is not smx's
        self.site, self.queue = site, Queue(site)
        self.address = f"127.0.0.1:{site.port}"
        self.processes = Processes(cgroup.dir, lambda: [p for ps in site.all_pids().values() for p in ps])

    def _settings(self):
        case, n = self.case, self.bench.messages(self.case)
        out = {"qmgr.smtps.max_connections": str(max(2000, self.bench.o.sessions))}
        if case.tls:
            out.update(self.bench.certs.settings("mx"))
        if case.auth:
            directory = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="smx-sasl-"))
            out.update(Sasl(directory, users=[LOGIN]).settings(trusted_mechs="{ PLAIN }"))
        if case.how in ("accept", "drain"):  # nothing becomes due by itself
            out.update({"qmgr.retry_min_delay": "30m", "qmgr.retry_max_delay": "1d"})
        if case.how == "accept":  # all of it fits, so nothing is written but what accepting needs
            out["qmgr.AQ_max_entries"] = str(max(1100, 2 * (n + self.bench.warm)))
        if case.how == "idle":
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            if n + SPARE > most:
                raise Impossible(f"needs {n + SPARE} descriptors, and {most} are allowed")
            out.update({"smtps.max_threads": str(max(2000, n + SPARE)), "qmgr.smtps.max_connections": str(max(2000, n)),
                        "qmgr.smtps.max_sessions": str(max(5000, n + SPARE))})
        return out

    def stop_deliveries(self):
        self.queue.ask("stop", "delivering")

    def held(self):
        return self.queue.count()

    def mark(self):
        return self.site.log_marks()

    def put_off(self, mark):
        log = "".join(text for name, text in self.site.logs_since(mark).items() if name.startswith("qmgr"))
        texts = [x[1] for x in re.finditer(r' qm\.rcpt .*stat=deferred,.* text="([^"]*)', log)]
        return f"{len(texts)} put off: {texts[0]}" if texts else ""

    def deferred(self):
        return self.queue.count("state=deferred")

    def flush(self):
        self.queue.ask("flush")


class PostfixPeer(Peer):
    """Debian's package, unpacked. Its log is written by its own postlogd, into a file; queue files are synced before the 250, as it is shipped."""

    name = kind = "postfix"
    TUNED = ("default_process_limit = 1100", "smtp_destination_concurrency_limit = 10", "initial_destination_concurrency = 10", "in_flow_delay = 0",
             "smtpd_peername_lookup = no")

    def start(self):
        if os.getuid():
            raise Impossible("needs root")
        cgroup = Cgroup()
        self.stack.callback(cgroup.remove)
        self.server = Postfix({}, [f"relayhost = [127.0.0.1]:{self.bench.sink_port}", *self.TUNED, *self._settings(), *self.bench.o.postfix_set],
                              defaults=(), prefix=cgroup.prefix())
        self.stack.enter_context(self.server)
        self.bench.versions["postfix"] = self.server.version()
        self.address = f"127.0.0.1:{self.server.port}"
        self.processes = Processes(cgroup.dir, self.server.pids)

    def _settings(self):
        certs, out = self.bench.certs if self.case.tls else None, []
        if certs:
            out += [f"smtpd_tls_cert_file = {certs.path('mx')}", f"smtpd_tls_key_file = {certs.key('mx')}", "smtpd_tls_security_level = may"]
        if self.case.tls_out:
            out += ["smtp_tls_security_level = may"]
        if self.case.how == "accept":
            out += ["smtpd_sender_restrictions = check_sender_access static:HOLD"]
        if self.case.how == "drain":  # nothing becomes due by itself
            out += ["minimal_backoff_time = 1h", "maximal_backoff_time = 2h", "queue_run_delay = 1h"]
        return out

    def stop_deliveries(self):
        """It was started so."""

    def held(self):
        return self.server.count()

    def deferred(self):
        return self.server.count("deferred")

    def flush(self):
        self.server.tool("postqueue", "-f")


class Other(Peer):
    """Somebody has started it; it stays as it is from run to run."""

    kind = "other"

    def __init__(self, bench, case, variant, name, address, cgroup, pids):
        super().__init__(bench, case, variant)
        self.name, self.address = name, address
        if cgroup or pids:
            self.processes = Processes(cgroup, lambda: self._pids(pids))

    @staticmethod
    def _pids(path):
        with open(path) as f:
            return [int(x) for x in f]

    def start(self):
        host, _, port = self.address.rpartition(":")
        if not greets((host, int(port))):
            raise Impossible(f"nobody greets at {self.address}")


def settled(peer, seconds=30):
    """Wait until nothing is left in its queues; gives what is."""
    end = time.monotonic() + seconds
    while peer.held() and time.monotonic() < end:
        time.sleep(0.1)
    return peer.held()
