"""Greylisting by SMTP: the manual's states, when it is said, who is left out, nets, a smar that is killed, databases that are damaged."""
import json
import os
import subprocess
import time

import pytest
from e2e.test_maps import add_to_smar
from lib.client import Client, message
from lib.paths import BUILD
from lib.site import Site
from lib.wait import SLOW, until

ACCESS = """\
cltaddr:127.0.0.1 quick:relay
cltaddr:127.9 ok
to:gone@local.test discard
"""
OPTIONS = "directory = \"@/greylist\"; grey_wait = 2s; grey_expire = 1h;"


def make(options=OPTIONS, flags="access, greylisting", **more):
    s = Site(routes=["local.test lmtp:", "other.test lmtp:"], lmtp_agent=True,
             settings={"smtps.flags": "{ " + flags + " }", "smar.access_map.file": "../access", **more})
    with open(os.path.join(s.dir, "access"), "w") as f:
        f.write(ACCESS)
    add_to_smar(s, "\tgreylisting { " + options + " }")
    directory = os.path.join(s.dir, "greylist")
    os.mkdir(directory, 0o700)
    st = os.stat(s.dir)
    os.chown(directory, st.st_uid, st.st_gid)
    return s


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
    time.sleep(2.5)
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
    path = os.path.join(mortal.dir, "greylist", "main.db")
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


def test_no_directory():
    """A configuration that cannot work is told at the start."""
    s = make()
    os.rmdir(os.path.join(s.dir, "greylist"))
    s.start(wait=False)
    until(lambda: "greylisting.directory" in s.log_tail(), "it says what is wrong", 30)
    s.stop()
