"""Greylisting by SMTP: the manual's states, when it is said, who is left out, nets, a smar that is killed, databases that are damaged."""
import json
import os
import subprocess
import time

import pytest
from lib.client import Client, message
from lib.paths import BUILD
from lib.site import Site
from lib.smarctl import Ctl
from lib.wait import SLOW, until

ACCESS = """\
cltaddr:127.0.0.1 quick:relay
cltaddr:127.9 ok
to:gone@local.test discard
"""
OPTIONS = "grey_wait = 2s; grey_expire = 1h;"


def make(options=OPTIONS, flags="access, greylisting", **more):
    s = Site(routes=["local.test lmtp:", "other.test lmtp:"], lmtp_agent=True,
             settings={"smtps.flags": "{ " + flags + " }", "smar.access_map.file": "../access", **more})
    with open(os.path.join(s.dir, "access"), "w") as f:
        f.write(ACCESS)
    if options is not None:
        s.add("smar", "\tgreylisting { " + options + " }")
    return s


def directory_of(site):
    return os.path.join(site.spool, "greylist")


@pytest.fixture(scope="module")
def site():
    with make() as s:
        yield s


def knock(site, ip, rcpt="u@local.test"):
    with Client(site.port, source=ip) as c:
        assert c.mail("s@other.test").code == 250
        return c.rcpt(rcpt)


def let_in(site, ip, **more):
    """A client that comes twice, as it should."""
    assert knock(site, ip, **more).code == 421
    until(lambda: knock(site, ip, **more).code == 250, "it has waited", 30, 0.3)


def test_first_time(site):
    with Client(site.port, source="127.0.2.1") as c:
        assert c.mail("s@other.test").code == 250
        r = c.rcpt("u@local.test")
        assert r.code == 421 and r.enhanced == "4.7.1"
        c.closes()
    assert knock(site, "127.0.2.1").code == 421  # at once: no


def test_second_time(site):
    let_in(site, "127.0.2.2")
    with Client(site.port, source="127.0.2.2") as c:  # and its mail arrives
        assert c.mail("s@other.test").code == 250
        assert c.rcpt("u@local.test").code == 250
        assert c.cmd("DATA").code == 354
        assert c.finish(message("second time")).code == 250
    site.wait_empty()


def test_only_good_recipients_count(site):
    """Who tries what is not accepted anyway is not written down: the next try is its first one."""
    for rcpt, code in (("u@far.test", 550), ("gone@local.test", 250)):
        assert knock(site, "127.0.2.3", rcpt).code == code
    let_in(site, "127.0.2.31")  # so who had come before, had waited long enough
    assert knock(site, "127.0.2.3").code == 421


def test_who_is_left_out(site):
    assert knock(site, "127.0.0.1").code == 250  # relay
    assert knock(site, "127.9.0.1").code == 250  # ok


def test_addresses_are_told_apart(site):
    let_in(site, "127.0.2.5")
    assert knock(site, "127.0.2.6").code == 421


def grey(site, program, *args):
    r = subprocess.run([*site.prefix, os.path.join(BUILD, program), "-j", "-f", site.conf, "-q", site.spool, *args],
                       text=True, capture_output=True, timeout=60 * SLOW)
    return r.returncode, [json.loads(x) for x in r.stdout.splitlines()], r.stderr


@pytest.mark.parametrize("running", [True, False])
def test_tools(running):
    """greyprint and greyrm, with smar and without."""
    with make(OPTIONS + " netmask = 24;") as s:
        let_in(s, "127.0.4.1")
        for n in range(1200 if running else 40):
            knock(s, f"127.{20 + n // 250}.{n % 250}.1")
        if not running:
            s.stop()
        count = 1201 if running else 41
        status, rows, trouble = grey(s, "greyprint")
        assert (status, trouble, len(rows)) == (0, "", count)
        by = {r["address"]: r for r in rows}
        assert by["127.0.4.0"]["state"] == "whitelisted" and by["127.20.0.0"]["state"] == "greylisted"
        now = time.time()
        assert now - 300 < by["127.0.4.0"]["first_s"] <= by["127.0.4.0"]["last_s"] <= now + 2
        assert abs(by["127.20.0.0"]["expires_s"] - by["127.20.0.0"]["first_s"] - 3600) < 2
        assert len(grey(s, "greyprint", "127.20.0.0/16")[1]) == (250 if running else 40)
        assert len(grey(s, "greyprint", "127.0.4.77")[1]) == 1
        assert grey(s, "greyrm", "127.0.4.77")[0] == 0
        assert grey(s, "greyprint", "127.0.4.1")[0] == 1  # nothing
        assert grey(s, "greyrm", "127.20.0.0/16", "127.21.3.1")[0] == 0
        assert len(grey(s, "greyprint")[1]) == count - 1 - (251 if running else 40)
        for bad in ("x", "1.2.3.4/33", "1.2.3"):
            assert grey(s, "greyrm", bad)[0] == 64
        if not running:
            s.start()
        assert knock(s, "127.0.4.1").code == 421  # it has to come twice again


@pytest.fixture
def mortal():
    with make() as s:
        yield s


def test_restart_and_kill(mortal):
    """What is whitelisted stays so over a restart and over kills at any moment, while mail comes."""
    let_in(mortal, "127.0.2.7")
    for n in range(6):
        for k in range(5 * n):
            knock(mortal, f"127.1.{n}.{k + 1}")
        old = mortal.pids("smar")
        mortal.kill("smar")
        until(lambda: mortal.pids("smar") and mortal.pids("smar") != old, "smar is there again", 60)
        assert knock(mortal, "127.0.2.7").code == 250
    mortal.stop()
    mortal.start()
    assert knock(mortal, "127.0.2.7").code == 250
    lines = mortal.log_lines("smar", "ar.grey")
    assert not [x for x in lines if "ERROR" in x], lines


def test_damaged(mortal):
    """Of no use: it is begun anew, and says so; mail comes in."""
    let_in(mortal, "127.0.2.7")
    mortal.stop()
    path = os.path.join(directory_of(mortal), "main.db")
    with open(path, "r+b") as f:
        f.write(b"\xa5" * 9000)
    mortal.start()
    until(lambda: [x for x in mortal.log_lines("smar", "ar.grey") if "begun anew" in x], "it is told", 30)
    let_in(mortal, "127.0.2.7")


def test_at_data():
    with make(flags="access, greylisting, delay_greylisting_error_until_DATA") as s:
        with Client(s.port, source="127.0.2.1") as c:
            assert c.mail("s@other.test").code == 250
            assert c.rcpt("u@local.test").code == 250
            assert c.cmd("DATA").code == 421
        # A callback asks for addresses only, and is answered.
        with Client(s.port, source="127.0.2.2") as c:
            assert c.mail("").code == 250
            assert c.rcpt("u@local.test").code == 250
            assert c.rcpt("u@far.test").code == 550


def test_nets_and_450():
    with make(OPTIONS + " netmask = 0xFFFFFF00;", "access, greylisting, greylisting_keeps_session") as s:
        with Client(s.port, source="127.0.2.1") as c:
            assert c.mail("s@other.test").code == 250
            assert c.rcpt("u@local.test").code == 450
            assert c.rcpt("u@local.test").code == 450
            assert c.cmd("NOOP").code == 250
        until(lambda: knock(s, "127.0.2.99").code == 250, "another one of the farm has waited", 30, 0.3)
        assert knock(s, "127.0.3.1").code == 450


RCPTS = ("u@local.test", "v@local.test")


@pytest.mark.parametrize("flags, told", [
    ("", [("rcpt", 421)]),
    (", greylisting_keeps_session", [("rcpt", 450), ("rcpt", 450)]),
    (", delay_greylisting_error_until_DATA", [("rcpt", 250), ("rcpt", 250), ("data", 421)]),
    (", greylisting_keeps_session, delay_greylisting_error_until_DATA", [("rcpt", 250), ("rcpt", 250), ("data", 450)])])
def test_smarctl_says_what_smtps_says(flags, told):
    with make(flags="access, greylisting" + flags) as s:
        said = Ctl(s).told("--client", "127.0.2.1", "--from", "s@other.test", *(x for r in RCPTS for x in ("--to", r)), status=75)
        assert [x for x in said if x[0] in ("rcpt", "data")] == told
        real = []
        with Client(s.port, source="127.0.2.1") as c:
            assert c.mail("s@other.test").code == 250
            for rcpt in RCPTS:
                if ("rcpt", 421) not in real:
                    real.append(("rcpt", c.rcpt(rcpt).code))
            if real[-1][1] == 250:
                real.append(("data", c.cmd("DATA").code))
        assert real == told


def test_no_directory():
    """A configuration that cannot work is told at the start."""
    s = make()
    os.rmdir(directory_of(s))
    s.start(wait=False)
    until(lambda: "greylisting.directory" in s.log_tail(), "it says what is wrong", 30)
    s.stop()


def test_elsewhere():
    """The section may say where; what is in the queue directory is left alone."""
    s = make("directory = \"@/elsewhere\";")
    directory = os.path.join(s.dir, "elsewhere")
    os.mkdir(directory, 0o700)
    st = os.stat(s.dir)
    os.chown(directory, st.st_uid, st.st_gid)
    with s:
        assert knock(s, "127.0.2.1").code == 421
        assert os.path.exists(os.path.join(directory, "main.db")) and not os.listdir(directory_of(s))


def test_section_is_enough():
    with make("") as s:
        assert knock(s, "127.0.2.1").code == 421
        assert os.path.exists(os.path.join(directory_of(s), "main.db"))


@pytest.mark.parametrize("options", [None, "directory = \"\";"])
def test_flag_without_greylist(options):
    """A listener wants what smar has not: mail comes in, and the log says it once."""
    with make(options) as s:
        for n in range(3):
            assert knock(s, f"127.0.2.{n + 1}").code == 250
        lines = s.log_lines("smar", "ar.grey")
        assert len(lines) == 1 and "WARN ar.grey" in lines[0] and "no greylist" in lines[0], lines
        assert not os.listdir(directory_of(s))
        # Who is not asked for is nothing to warn of.
    with make(options, "access") as s:
        assert knock(s, "127.0.2.1").code == 250
        assert not s.log_lines("smar", "ar.grey")


def errors(site):
    return [x for x in site.log_lines("smar", "ar.grey") if "ERROR ar.grey" in x]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")
def test_disk_full():
    """Mail goes on, one line says why nobody is greylisted, and who was whitelisted is so when there is room again."""
    s = make()
    # Of an environment that could not be opened libdb does not free all.
    with open(os.path.join(s.dir, "lsan"), "w") as f:
        f.write("leak:libdb\n")
    s.environment["LSAN_OPTIONS"] = f"suppressions={s.dir}/lsan:print_suppressions=0"
    directory = directory_of(s)
    st = os.stat(directory)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=16m,mode=700,uid={st.st_uid},gid={st.st_gid}", "tmpfs", directory], check=True)
    try:
        with s:
            let_in(s, "127.0.2.7")
            filler = os.path.join(directory, "filler")
            with open(filler, "wb", buffering=0) as f, pytest.raises(OSError):
                while True:
                    f.write(b"x" * 4096)
            # What fits into the last pages is still written down, then nobody is greylisted.
            for n in range(1000):
                if errors(s):
                    break
                knock(s, f"127.{20 + n // 250}.{n % 250}.1")
            for n in range(50):
                assert knock(s, f"127.30.{n}.1").code == 250
            with Client(s.port, source="127.31.0.1") as c:
                assert c.mail("s@other.test").code == 250
                assert c.rcpt("u@local.test").code == 250
                assert c.cmd("DATA").code == 354
                assert c.finish(message("no room for a greylist")).code == 250
            s.wait_empty()
            assert len(errors(s)) == 1 and "No space left" in errors(s)[0] and "nobody is greylisted" in errors(s)[0], errors(s)
            # Started on a full disk, it keeps what it cannot use now.
            s.stop()
            s.start()
            until(lambda: len(errors(s)) == 2, "it cannot be opened", 30)
            assert "No space left" in errors(s)[1] and knock(s, "127.30.0.1").code == 250
            s.stop()
            os.remove(filler)
            s.start()
            assert knock(s, "127.0.2.7").code == 250 and knock(s, "127.30.0.1").code == 421
            assert not [x for x in s.log_lines("smar", "ar.grey") if "begun anew" in x]
    finally:
        subprocess.run(["umount", "-l", directory], check=True)
