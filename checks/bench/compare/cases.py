"""What is measured: for each case its load, what it wants of a relay, who can be asked, and the figures that are wanted of smx."""
from dataclasses import dataclass, field

LOGIN = ("bench", "for-measurements")
ALL, RELAYS, OURS = ("raw", "smx", "postfix", "other"), ("smx", "postfix", "other"), ("smx",)


@dataclass(frozen=True)
class Target:
    """A figure that is wanted: at least, at most or below so much. `row`: of which row, where a case gives several."""
    key: str
    bound: str
    value: float
    row: str = ""

    def met(self, value):
        return {"least": value >= self.value, "most": value <= self.value, "below": value < self.value}[self.bound]


def least(key, value, row=""):
    return Target(key, "least", value, row)


def most(key, value, row=""):
    return Target(key, "most", value, row)


def below(key, value, row=""):
    return Target(key, "below", value, row)


@dataclass(frozen=True)
class Variant:
    """A case may run with several settings of smx, each with figures of its own that are wanted. Other peers are measured with the first one only."""
    name: str = ""
    settings: dict = field(default_factory=dict)
    targets: tuple = ()


@dataclass(frozen=True)
class Case:
    what: str
    how: str = "relay"  # the function that measures it
    messages: int = 10000
    rcpts: int = 1
    load: tuple = ("-l", "5120")  # arguments of load
    source: tuple = None  # of smtp-source, where that can do it
    tls: bool = False  # the relay offers STARTTLS
    tls_out: bool = False  # the sink offers it
    auth: bool = False  # who has logged in may relay, and nobody else
    faults: str = ""  # of smx; a testing build
    peers: tuple = ALL
    targets: tuple = ()
    variants: tuple = (Variant(),)
    once: bool = False  # in the first run only
    pause: int = 0  # seconds before each run, in which nothing is removed


def five_kb(*more):
    """The same words for load and for smtp-source."""
    return {"load": ("-l", "5120", *more), "source": ("-l", "5120", *more)}


FILES = {"smtps.CDB_segment_size": "0B"}


def layouts(segments, files=()):
    """How contents are kept: as smx is shipped, and a file for each."""
    return Variant("segments", {}, segments), Variant("files", FILES, files)


SLOW_JOURNAL = "ibdb.sync=delay:5"
SLOW_DISK = "cdb.sync=delay:5,cdb.syncdir=delay:5,ibdb.sync=delay:5,defedb.sync=delay:5"

CASES = {
    "A": Case("messages of 5 KB, a connection for each", **five_kb(), targets=(least("rate", 3500), least("ratio", 4.5), most("cpu_per_1000", 0.35))),
    "B": Case("the same, connections kept", **five_kb("-d"), targets=(least("rate", 6000), least("ratio", 7), most("cpu_per_1000", 0.25))),
    "C": Case("messages of 100 KB", messages=2000, load=("-l", "102400"), source=("-l", "102400"), targets=(least("rate", 2500),)),
    "D": Case("messages with 20 recipients at one destination", messages=1000, rcpts=20, **five_kb("-r", "20"), targets=(least("rate", 2500),)),
    "E": Case("accept only: deliveries are stopped, connections kept", how="accept", load=("-l", "5120", "-d"), peers=("smx", "postfix"), pause=70,
              variants=layouts((least("rate", 8000), below("p99_ms", 25)), (least("rate", 5000), below("p99_ms", 25)))),
    "F": Case("drain: all were deferred, and become due at one moment", how="drain", load=("-l", "5120", "-d"), peers=("smx", "postfix"),
              targets=(least("rate", 5000),)),
    "G": Case("as A, each journal sync 5 ms slower, and one lone session (G1)", how="slow_journal", **five_kb(), faults=SLOW_JOURNAL, peers=OURS),
    "GE": Case("as E, each sync of content and journal 5 ms slower", how="accept", load=("-l", "5120", "-d"), faults=SLOW_DISK, peers=OURS,
               variants=layouts((least("rate", 3000),))),
    "T": Case("as A with STARTTLS in", load=("-l", "5120", "-S"), tls=True, targets=(least("rate", 700),)),
    "R": Case("as T, sessions are resumed", load=("-l", "5120", "-z"), tls=True, targets=(least("rate", 1200),)),
    "T2": Case("as T, and the sink offers STARTTLS too", load=("-l", "5120", "-S"), tls=True, tls_out=True, targets=(least("ratio", 3),)),
    "P": Case("as T with a login for each message", load=("-l", "5120", "-S", "-a", ":".join(LOGIN)), tls=True, auth=True, peers=("smx", "other")),
    "K": Case("the same, connections are kept after the login", load=("-l", "5120", "-S", "-d", "-a", ":".join(LOGIN)), tls=True, auth=True,
              peers=("smx", "other")),
    "I": Case("idle connections", how="idle", messages=1000, load=(), peers=RELAYS, once=True, targets=(most("pss_more_mb", 15),)),
    "J": Case("idle connections in TLS", how="idle", messages=1000, load=("-S",), tls=True, peers=RELAYS, once=True, targets=(most("pss_mb", 60),)),
    "I10": Case("idle connections", how="idle", messages=10000, load=(), peers=("smx", "other"), once=True, targets=(most("pss_more_mb", 120),)),
    "J10": Case("idle connections in TLS", how="idle", messages=10000, load=("-S",), tls=True, peers=("smx", "other"), once=True),
    "S": Case("system calls and context switches of a message, load as A (SA) and as D (SD)", how="events", messages=500, **five_kb(), peers=RELAYS,
              once=True, targets=(below("calls", 60, "A"), below("voluntary", 8, "A"))),
}
USUAL = ["A", "B", "C", "D", "E", "F", "T2", "I", "S"]


def listing():
    """For the help."""
    return "\n".join(f"    {name:4}{c.messages:>6,} {c.what}" for name, c in CASES.items())
