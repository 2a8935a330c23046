"""A site as it is on a real machine: mcp is root, each worker its own user. Root only; the accounts are made when they are missing."""
import grp
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys

import pytest
from lib.client import message
from lib.paths import BUILD, free_port, has_seccomp, is_testing_build
from lib.sink import Sink
from lib.site import COMPONENTS, Site
from lib.wait import SLOW, until

pytestmark = [pytest.mark.inside, pytest.mark.skipif(os.getuid() != 0, reason="not root: no other users")]

USERS = {"smtps": "smxs", "qmgr": "smxq", "smtpc": "smxc", "smar": "smxm"}
GROUPS = {"smtps": {"smxs", "smxc", "smxm"}, "qmgr": {"smxq", "smxm"}, "smtpc": {"smxc", "smxm"}, "smar": {"smxm"}}
# owner:group and mode of what is below the queue directory
TREE = {
    **{d: ("smxs", "smxq", 0o771) for d in "0123456789ABCDEF"},
    "defedb": ("smxq", "smxq", 0o700), "ibdb": ("smxq", "smxq", 0o700), "ibdb/ibdb": ("smxq", "smxq", 0o700),
    "qmsmar": ("smxq", "smxm", 0o2770), "qmsmtpc": ("smxq", "smxc", 0o2770), "qmsmtps": ("smxq", "smxs", 0o2770),
    "smtps": ("smxs", "smxs", 0o750), "submit": ("root", "root", 0o755), "ctl": ("smxq", "smx", 0o2750), "smarctl": ("smxm", "smx", 0o2750), ".": ("root", "root", 0o755),
}
SOCKETS = {"qmsmtps/smtpssock": "qmgr", "qmsmtpc/smtpcsock": "qmgr", "ctl/qmgr": "qmgr", "qmsmar/smarsock": "smar", "smtps/smtpsfd": "smtps"}


@pytest.fixture(scope="module")
def site(sink):
    dead = free_port()
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("local.test", "src.test")] + [f"away.test {dead}^esmtp:[127.0.0.1]"],
              relay=["local.test", "away.test"], users="real") as s:
        yield s


@pytest.fixture(autouse=True)
def healthy(request, site):
    """Nobody dies but by our hand, and the logs are sound."""
    before = site.snapshot()
    yield
    if not request.node.name.startswith("test_killed"):
        before.alive()
    before.log_sound()


@pytest.fixture
def works(site, sink):
    """The site was well before, and a mail goes through after the test."""
    yield
    site.wait_ready()
    site.canary(sink, timeout=20)


def owner(path):
    st = os.lstat(path)
    return pwd.getpwuid(st.st_uid).pw_name, grp.getgrgid(st.st_gid).gr_name, stat.S_IMODE(st.st_mode)


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


# ---- processes

@pytest.mark.parametrize("component", COMPONENTS)
def test_identity(site, component):
    pid, = site.pids(component)
    s = status(pid)
    user = pwd.getpwnam(USERS[component])
    assert s["Uid"].split() == [str(user.pw_uid)] * 4 and s["Gid"].split() == [str(user.pw_gid)] * 4
    assert {grp.getgrgid(int(g)).gr_name for g in s["Groups"].split()} == GROUPS[component]
    assert [s[c] for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == ["0" * 16] * 5
    assert s["NoNewPrivs"] == "1" and s["Umask"] == "0027"


@pytest.mark.parametrize("component", COMPONENTS)
def test_seccomp(site, component):
    if not has_seccomp():
        pytest.skip("a build without the filter")
    s = status(site.pids(component)[0])
    assert s["Seccomp"] == "2" and int(s.get("Seccomp_filters", "1")) >= 1


@pytest.mark.parametrize("component", COMPONENTS)
def test_dumpable(site, component):
    """What is not dumpable belongs to root in /proc: its own user cannot look into it."""
    pid, = site.pids(component)
    user = USERS[component]
    testing = is_testing_build()
    assert owner(f"/proc/{pid}/maps")[0] == (user if testing else "root")
    r = subprocess.run(["setpriv", "--reuid", user, "--regid", user, "--init-groups", "cat", f"/proc/{pid}/environ"], capture_output=True)
    assert (r.returncode == 0) == testing


@pytest.mark.parametrize("component", COMPONENTS)
def test_sandbox_is_logged(site, component):
    """The first lines say which Landlock ABI holds, whether seccomp is on, and whether the process is dumpable."""
    text = site.logs_since()[component + ".log"]
    m = re.search(r'\.rights .*"landlock=(\d+) seccomp=([\w-]+) dumpable=(\w+)"', text)
    assert m, text[:500]
    assert int(m.group(1)) == landlock_abi()
    if has_seccomp():
        assert m.group(2) == ("testing" if is_testing_build() else "on")


def landlock_abi():
    import ctypes
    libc = ctypes.CDLL(None)
    return max(0, libc.syscall(444, None, 0, 1))


def test_supervisor(site):
    """mcp keeps only what it needs to start others and bind: chown, dac_override, kill, setgid, setuid, setpcap, net_bind_service."""
    s = status(site.mcp_pid())
    allowed = sum(1 << b for b in (0, 1, 5, 6, 7, 8, 10))
    assert s["Uid"].split() == ["0"] * 4
    assert int(s["CapEff"], 16) & ~allowed == 0 and int(s["CapBnd"], 16) & ~allowed == 0
    assert s["Groups"].strip() in ("", "0")


@pytest.mark.parametrize("component", COMPONENTS)
def test_killed(site, works, component):
    old = site.pids(component)
    others = {c: site.pids(c) for c in COMPONENTS if c != component}
    site.kill(component)
    site.restarted(component, old)
    assert {c: site.pids(c) for c in others} == others


# ---- files

@pytest.mark.parametrize("path", TREE)
def test_tree(site, path):
    assert owner(os.path.join(site.spool, path)) == TREE[path]


@pytest.mark.parametrize("path", SOCKETS)
def test_socket_owner(site, path):
    """Made by who listens there, closed to others."""
    full = os.path.join(site.spool, path)
    assert stat.S_ISSOCK(os.lstat(full).st_mode)
    assert owner(full)[0] == USERS[SOCKETS[path]] and owner(full)[2] & 0o007 == 0


def test_content_file(site):
    """smtps's, and its group is smtpc's: the one reads what the other wrote, qmgr may only remove it."""
    with site.client() as c:
        assert c.send_mail("a@src.test", "b@away.test", message("stays")).code == 250
    path, = site.content_files()
    assert owner(path) == ("smxs", "smxc", 0o640)
    assert subprocess.run(["setpriv", "--reuid=smxc", "--regid=smxc", "--init-groups", "cat", path], capture_output=True).returncode == 0
    for user in ("smxq", "smxm", "nobody"):
        group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
        assert subprocess.run(["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", "cat", path], capture_output=True).returncode == 1
    logs = {n: owner(os.path.join(site.log_dir, n + ".log")) for n in COMPONENTS}
    assert logs == {n: (USERS[n], "operator", 0o640) for n in COMPONENTS}


# ---- A91: other users at the sockets

TALK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    s.sendall(b"\\0" * 64)
    got = s.recv(4096)
    print("answered" if got else "closed")
except (PermissionError, ConnectionResetError, BrokenPipeError) as e:
    print(type(e).__name__)
"""


def talk(user, path):
    group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    return subprocess.run(["setpriv", f"--reuid={user}", f"--regid={group}", "--init-groups", sys.executable, "-c", TALK, path],
                          capture_output=True, text=True, timeout=30 * SLOW, check=True).stdout.strip()


@pytest.mark.parametrize("path", SOCKETS)
def test_nobody_at_socket(site, works, path):
    assert talk("nobody", os.path.join(site.spool, path)) == "PermissionError"


def test_wrong_member_at_socket(site, works):
    """smxs is in group smxc, and so gets as far as to connect where smtpc should: closed without a byte, and logged."""
    before, pids = site.log_marks(), site.pids("qmgr")
    assert talk("smxs", os.path.join(site.spool, "qmsmtpc/smtpcsock")) in ("closed", "ConnectionResetError", "BrokenPipeError")
    wanted = f"rpc.refused path=qmsmtpc/smtpcsock, uid={pwd.getpwnam('smxs').pw_uid},"
    until(lambda: wanted in site.logs_since(before)["qmgr.log"], lambda: site.logs_since(before), 5)
    assert site.pids("qmgr") == pids


@pytest.mark.parametrize("path,user", [("qmsmtps/smtpssock", "smxs"), ("qmsmtpc/smtpcsock", "smxc"), ("qmsmar/smarsock", "smxq"), ("ctl/qmgr", "smx")])
def test_right_user_wrong_bytes(site, works, path, user):
    """The right user, but no hello: that connection ends, nothing else."""
    pids = site.all_pids()
    assert talk(user, os.path.join(site.spool, path)) in ("closed", "answered", "ConnectionResetError", "BrokenPipeError")
    assert site.all_pids() == pids


# ---- sm.check.sh

@pytest.fixture(scope="module")
def installed(site, tmp_path_factory):
    """The environment in which sm.check.sh sees this site as installed: with copies of the programs, for damage."""
    top = tmp_path_factory.mktemp("installed")
    for d, programs in (("sbin", ["mcp/mcp", "sendmail"]), ("libexec", [f"{c}/{c}" for c in COMPONENTS]), ("bin", ["misc/qmgrctl", "smconf"])):
        os.mkdir(top / d)
        for p in programs:
            shutil.copy(os.path.join(BUILD, p), top / d)
    return dict(os.environ, SMXQDIR=site.spool, SMXETC=site.dir, LOGDIR=site.log_dir, SMXSBIN=str(top / "sbin"), SMXLIBEXEC=str(top / "libexec"),
                SMXBIN=str(top / "bin"))


def check(environment, how="-P"):
    r = subprocess.run(["sh", os.path.join(BUILD, "misc/sm.check.sh"), how], env=environment, capture_output=True, text=True)
    assert not r.stderr, r.stderr
    assert (r.returncode == 0) == (r.stdout == ""), r
    return r.stdout


def test_check_accounts(site, installed):
    assert check(installed, "-p") == ""
    assert "user nosuch is missing" in check({**installed, "SMXS": "nosuch"}, "-p")
    # one in the place of another: wrong groups
    assert "user smxc is in groups" in check({**installed, "SMXS": "smxc"}, "-p")


def test_check_clean(site, installed):
    assert check(installed) == ""


def _chown(user, group):
    return lambda p: os.chown(p, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)


def _chmod(mode):
    return lambda p: os.chmod(p, mode)


DAMAGES = {
    "content_dir_owner": ("{q}/3", _chown("nobody", "smxq")), "content_dir_group": ("{q}/A", _chown("smxs", "smxs")),
    "content_dir_mode": ("{q}/F", _chmod(0o777)), "content_dir_missing": ("{q}/7", None),
    "deferred_dir_open": ("{q}/defedb", _chmod(0o755)), "journal_dir_owner": ("{q}/ibdb", _chown("smxs", "smxq")),
    "journal_inner_missing": ("{q}/ibdb/ibdb", None), "socket_dir_no_setgid": ("{q}/qmsmtps", _chmod(0o770)),
    "socket_dir_world": ("{q}/qmsmar", _chmod(0o2777)), "handover_dir_mode": ("{q}/smtps", _chmod(0o770)),
    "control_dir_group": ("{q}/ctl", _chown("smxq", "smxc")), "smar_control_dir_mode": ("{q}/smarctl", _chmod(0o2770)),
    "queue_dir_owner": ("{q}", _chown("smxq", "root")), "queue_dir_mode": ("{q}", _chmod(0o775)),
    "content_mode": ("{content}", _chmod(0o644)), "content_group": ("{content}", _chown("smxs", "smxs")),
    "table_owner": ("{e}/mt", _chown("smxs", "smxm")), "config_writable": ("{e}/smx.conf", _chmod(0o666)),
    "config_owner": ("{e}/smx.conf", _chown("smxs", "root")), "config_dir_writable": ("{e}", _chmod(0o777)),
    "program_set_uid": ("{bin}/qmgrctl", _chmod(0o4755)), "program_set_gid": ("{libexec}/smtps", _chmod(0o2755)),
    "program_writable": ("{libexec}/qmgr", _chmod(0o775)), "program_owner": ("{sbin}/mcp", _chown("smxq", "root")),
    "program_missing": ("{libexec}/smar", None),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_check_damage(site, installed, damage):
    """Each damage is named with its path, and with its mending the complaint ends."""
    name, do = DAMAGES[damage]
    content = os.path.join(site.spool, "1/S0000000000000001FF")
    try:
        if "{content}" in name:
            with open(content, "w"):
                pass
            os.chmod(content, 0o640)
            _chown("smxs", "smxc")(content)
            assert check(installed) == ""
        path = name.format(q=site.spool, e=site.dir, bin=installed["SMXBIN"], libexec=installed["SMXLIBEXEC"], sbin=installed["SMXSBIN"], content=content)
        before = os.stat(path)
        if do:
            do(path)
        else:
            os.rename(path, path + ".away")
        try:
            lines = check(installed).splitlines()
            assert lines and all(path in line for line in lines), lines
        finally:
            if do:
                os.chown(path, before.st_uid, before.st_gid)
                os.chmod(path, stat.S_IMODE(before.st_mode))
            else:
                os.rename(path + ".away", path)
    finally:
        if os.path.exists(content):
            os.unlink(content)
    assert check(installed) == ""


def test_check_link(site, installed):
    """A content directory may be a link to another disk: what it points to is judged."""
    path, other = os.path.join(site.spool, "4"), os.path.join(site.dir, "other-disk")
    os.rename(path, other)
    os.symlink(other, path)
    try:
        assert check(installed) == ""
        os.chmod(other, 0o700)
        assert path in check(installed)
    finally:
        os.chmod(other, 0o771)
        os.unlink(path)
        os.rename(other, path)


# ---- logs

def test_log_rotation(site, works, sink, tag):
    """mv, USR1: every process goes on in a new file of the same owner and mode; nothing more comes into the old ones, nothing is lost."""
    names = [c + ".log" for c in COMPONENTS]
    pids = site.all_pids()
    for n in names:
        os.rename(os.path.join(site.log_dir, n), os.path.join(site.log_dir, n + ".1"))
    os.kill(site.mcp_pid(), signal.SIGUSR1)
    until(lambda: all(os.path.exists(os.path.join(site.log_dir, n)) for n in names), "new logs", 10)

    def writes_to(pid):
        return {os.path.basename(os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in (1, 2)}
    until(lambda: all(writes_to(pids[c][0]) == {c + ".log"} for c in COMPONENTS), "all write to the new ones", 10)
    olds = {n: os.path.getsize(os.path.join(site.log_dir, n + ".1")) for n in names}
    with site.client() as c:
        r = c.send_mail("a@src.test", "b@local.test", message(tag))
        assert r.code == 250
    sink.wait(tag)
    mid = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    until(lambda: all(mid in site.logs_since()[f"{c}.log"] for c in ("smtps", "qmgr", "smtpc")), lambda: site.logs_since(), 10)
    assert {n: os.path.getsize(os.path.join(site.log_dir, n + ".1")) for n in names} == olds
    for c in COMPONENTS:
        assert owner(os.path.join(site.log_dir, c + ".log")) == (USERS[c], "operator", 0o640), c
    assert site.all_pids() == pids


# ---- A94: tricks in the spool

def plant(kind, path, target):
    if kind == "symlink":
        os.symlink(target, path)
    elif kind == "hardlink":
        os.link(target, path)
    elif kind == "fifo":
        os.mkfifo(path, 0o666)
    else:
        os.mkdir(path)


def next_ids(site, n=200):
    """The names that contents will soon have, as files of their own and as segments: ids count up."""
    with site.client() as c:
        r = c.send_mail("a@src.test", "b@local.test", message("which id"))
        assert r.code == 250
    mid = re.search(r"S[0-9A-F]{18}", r.text).group(0)
    counter, rest = int(mid[1:17], 16), mid[17:]
    for i in range(1, n):
        for bit in (0, 1 << 63):
            yield os.path.join(site.spool, f"{(counter + i) & 15:X}", f"S{counter + i | bit:016X}{rest}")


@pytest.mark.parametrize("lines", [1, 60000], ids=["segment", "file"])
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "directory"])
def test_planted_before(site, works, kind, lines, tag):
    """Something is there already under the name of a content that is to be made: a 4xx, logged, nothing followed, nothing overwritten."""
    site.wait_ready()
    target = os.path.join(site.spool, "precious")
    with open(target, "w") as f:
        f.write("precious\n")
    os.chmod(target, 0o666)
    before, planted = site.log_marks(), []
    try:
        for path in next_ids(site):
            if not os.path.exists(path):  # the segment that is being written
                plant(kind, path, target)
                planted.append(path)
        with site.client() as c:
            def refused():
                return 400 <= c.send_mail("a@src.test", "b@local.test", message(tag, b"text\r\n" * lines)).code < 500
            if lines == 1:  # a segment that is there already is gone on with until nothing has come for a second
                until(refused, "the next one is refused", 20, every=1.5)
            else:
                assert refused()
            c.stays()
        with open(target) as f:
            assert f.read() == "precious\n"
        assert any(os.path.basename(p) in site.logs_since(before)["smtps.log"] for p in planted), site.logs_since(before)["smtps.log"]
        # Of what was there smtps removed nothing; what has the name of a segment that never was qmgr may remove, and just that name.
        assert lines == 1 or all(os.path.lexists(p) for p in planted)
    finally:
        for p in planted:
            if os.path.lexists(p):
                (os.rmdir if kind == "directory" else os.unlink)(p)
        os.unlink(target)


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "directory"])
def test_planted_after(sink, kind, tag):
    """A content that waits is replaced by something else: it is not sent, logged, nobody hangs on it; put back, it is delivered."""
    port = free_port()
    with Site(routes=[f"later.test {port}^esmtp:[127.0.0.1]", f"src.test {sink.port}^esmtp:[127.0.0.1]"], relay=["later.test"], users="real") as s:
        with s.client() as c:
            assert c.send_mail("a@src.test", "b@later.test", message(tag)).code == 250
        until(lambda: "stat=deferred" in s.log_tail(1000), lambda: s.log_tail(30), 15)
        path, = s.content_files()
        aside, target = os.path.join(s.dir, "aside"), os.path.join(s.spool, "secret")
        size = os.path.getsize(path)
        with open(target, "wb") as f:
            f.write(b"secret\r\n" * size)
        os.chmod(target, 0o644)
        os.rename(path, aside)
        plant(kind, path, target)
        before = s.log_marks()
        with Sink(port) as later:
            until(lambda: os.path.basename(path) in s.logs_since(before)["smtpc.log"] and
                  re.search(r"plain file|one link|directory|CORRUPT|corrupt", s.logs_since(before)["smtpc.log"]), lambda: s.log_tail(40), 20)
            assert not later.accepted and not sink.reports(about=tag)
            (os.rmdir if kind == "directory" else os.unlink)(path)
            os.rename(aside, path)
            m, = later.wait(tag, timeout=30)
            assert m.without_trace() == message(tag)
            s.wait_empty()
