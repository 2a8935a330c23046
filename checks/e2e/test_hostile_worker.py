"""What a worker that was taken over can do: each process of a testing build makes the attempts of libsm/priv_probe.c once it serves, and says
what came of them. Nothing may succeed that is not in its row of the table in doc/architecture.md."""
import grp
import os
import pwd
import re
import shutil
import socket
import subprocess

import pytest
from lib.client import message
from lib.paths import has_seccomp, is_testing_build
from lib.site import COMPONENTS, Site
from lib.wait import until

pytestmark = [pytest.mark.inside, pytest.mark.plain]

NEVER = """read_shadow read_mem write_proc_self_mem read_proc_parent list_root list_tmp create_tmp create_spool symlink_spool fifo_spool mkdir_spool
write_config symlink_content fifo_content link_content handle inet_raw packet netlink vsock bind_25 bind_port listen bind_unix_spool
fork exec exec_memory map_executable make_executable ptrace read_process pidfd_open pidfd_getfd pidfd_signal kill kill_all signal_supervisor
setuid setgid setgroups capset keep_caps raise_limit mount chroot unshare_user setns bpf perf userfaultfd io_uring keyctl module personality
seccomp terminal_input""".split()

# beyond NEVER: what only these may
ONLY = {
    "list_ibdb": {"qmgr"}, "create_ibdb": {"qmgr"}, "list_defedb": {"qmgr"}, "create_defedb": {"qmgr"},
    "list_content": {"smtps", "qmgr"}, "read_content": {"smtps", "smtpc"}, "write_content": {"smtps"}, "create_content": {"smtps"},
    "unlink_in_qmsmtps": {"qmgr"},
    "inet_stream": {"smtpc", "smar"}, "inet6_stream": {"smtpc", "smar"}, "inet_datagram": {"smar"}, "connect_out": {"smtpc", "smar"},
}
# by the file system's modes alone, so only with real users; the answer is then EACCES
ONLY_REAL = {"connect_control": {"qmgr"}}
REFUSED = {"EACCES", "EPERM", "ENOSYS"}
LANDLOCK_SCOPE = 6  # the ABI from which on abstract sockets are closed


def ids(user, group):
    return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid


def separate(site):
    """The configuration in a directory of its own, as on a real machine: its directory may be read, the queue's not."""
    etc = os.path.join(site.dir, "etc")
    shutil.copytree(site.dir, etc, ignore=lambda d, names: [n for n in names if n not in ("smx.conf", "mt")])
    os.chmod(etc, 0o755)
    for path in (os.path.join(etc, "smx.conf"), os.path.join(site.dir, "mcp.sh")):
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(text.replace(f"{site.dir}/smx.conf", f"{etc}/smx.conf").replace(f"{site.dir}/mt", f"{etc}/mt"))
    os.unlink(os.path.join(site.dir, "smx.conf"))
    site.conf = os.path.join(etc, "smx.conf")


@pytest.fixture(scope="module", params=["none", "real"])
def probed(request, sink):
    """(component -> attempt -> result, site, victim): all attempts have been made."""
    users = request.param
    if not is_testing_build() or not has_seccomp():
        pytest.skip("not a build with --enable-testing and seccomp, without sanitizers")
    if users == "real" and os.getuid() != 0:
        pytest.skip("not root: no other users")
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0smx-hostile-probe")
    abstract.listen(50)
    site = Site(routes=[f"local.test {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], users=users)
    separate(site)
    # of the same user, where all workers have one: the modes do not help it
    victim = subprocess.Popen([*site.prefix, "sleep", "1000"])
    site.environment["SM_HOSTILE"] = str(victim.pid)
    content = os.path.join(site.spool, "0/Sprobe")
    with open(content, "w") as f:
        f.write("not a content\n")
    os.chmod(content, 0o640)
    if os.getuid() == 0:
        os.chown(content, *(ids("smxs", "smxc") if users == "real" else (os.stat(site.dir).st_uid, -1)))
    os.mkdir(os.path.join(site.spool, "qmsmtps/hostile-probe"))
    try:
        with site:
            def results():
                out = {}
                for name, text in site.logs_since().items():
                    if " priv.probed" in text:
                        out[name.removesuffix(".log")] = dict(re.findall(r"priv\.probe name=(\w+), result=(\w+)", text))
                return out
            until(lambda: len(results()) == len(COMPONENTS), lambda: f"all have tried; {site.log_tail(30)}", 20)
            yield results(), site, victim
    finally:
        victim.kill()
        victim.wait()
        abstract.close()


@pytest.mark.parametrize("component", COMPONENTS)
def test_never(probed, component):
    got = probed[0][component]
    if not os.path.exists("/dev/mem"):
        got = {**got, "read_mem": "EACCES"}
    assert {n: got.get(n) for n in NEVER if got.get(n) not in REFUSED} == {}


@pytest.mark.parametrize("component", COMPONENTS)
def test_only_by_role(probed, component):
    results, site, _ = probed
    got = results[component]
    table = {**ONLY, **(ONLY_REAL if site.users == "real" else {})}
    if site.users == "none" and component == "smtpc":
        # the list of contents is closed by modes alone
        table.pop("list_content")
    wrong = {}
    for name, may in table.items():
        if component in may:
            if got.get(name) != "done":
                wrong[name] = got.get(name)
        elif got.get(name) not in REFUSED:
            wrong[name] = got.get(name)
    assert wrong == {}


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_attempt_is_judged(probed, component):
    """So that a new attempt of priv_probe.c is not forgotten here."""
    known = {*NEVER, *ONLY, *ONLY_REAL, "connect_abstract", "read_passwd"}
    assert set(probed[0][component]) == known


@pytest.mark.parametrize("component", COMPONENTS)
def test_landlock(probed, component):
    """Which ABI holds is logged; from 6 on abstract sockets of others are closed; the list of accounts is closed in any."""
    results, site, _ = probed
    text = site.logs_since()[component + ".log"]
    abi = int(re.search(r"landlock=(\d+) seccomp=testing", text).group(1))
    if abi == 0:
        pytest.skip("no Landlock in this kernel")
    assert results[component]["read_passwd"] == "EACCES"
    if abi >= LANDLOCK_SCOPE:
        assert results[component]["connect_abstract"] == "EPERM"


def test_nothing_happened(probed, sink, tag):
    """The victim lives, nothing was left behind, and the site still works."""
    _, site, victim = probed
    os.rmdir(os.path.join(site.spool, "qmsmtps/hostile-probe"))
    assert victim.poll() is None
    left = [os.path.join(d, n) for d, ds, fs in os.walk(site.dir) for n in fs + ds if "hostile" in n]
    assert left == [] and not os.path.exists("/tmp/hostile-probe")
    assert all(len(site.pids(c)) == 1 for c in COMPONENTS)
    os.unlink(os.path.join(site.spool, "0/Sprobe"))
    with site.client() as c:
        assert c.send_mail("a@src.test", "b@local.test", message(tag)).code == 250
    sink.wait(tag)
    site.wait_empty()
