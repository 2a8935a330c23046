"""Maps that ask somebody else: a socketmap server that misbehaves in every way, and the user database. Who is asked for a recipient that
cannot be looked up is told 4xx, never that there is no such user."""
import os
import pwd
import subprocess
import tempfile

import pytest
from lib.paths import free_port
from lib.site import Site
from lib.socketmap import BEHAVIOURS, SocketMap
from lib.wait import SLOW, until


def site_with(text, **more):
    """A site whose domain local.test is delivered by LMTP, and whose users are in a map."""
    site = Site(routes=["local.test 24^lmtp:[127.0.0.1]"], environment={"SM_DNS_TIMEOUT": str(int(SLOW))}, **more)
    site.add("smar", text)
    return site


def rcpt(site, user):
    with site.client(timeout=30 * SLOW) as c:
        assert c.mail("a@src.test").code == 250
        return c.rcpt(f"{user}@local.test")


def place_of(server):
    return f'path = "{server.path}";' if server.path else f"address = 127.0.0.1; port = {server.port};"


@pytest.fixture(name="server", params=["tcp", "unix"])
def fixture_server(request):
    # Not below pytest's own directory: that is closed to smar's user.
    with tempfile.TemporaryDirectory(prefix="smx-map-") as d:
        os.chmod(d, 0o755)
        with SocketMap(path=os.path.join(d, "users") if request.param == "unix" else None) as s:
            s.answers["known"] = "OK local:"
            yield s


def test_socket_map(server):
    site = site_with(f"map users {{ type = socket; mapname = people; {place_of(server)} }} local_user_map {{ name = users; }}")
    with site:
        assert rcpt(site, "known").code == 250
        assert ("people", "known") in server.asked
        assert rcpt(site, "Known").code == 250
        assert rcpt(site, "unknown").code == 550
        # Further forms of the address are not asked for behind NOMORE.
        server.answers["nobody+x"] = "NOMORE "
        server.answers["nobody*"] = "OK local:"
        assert rcpt(site, "nobody+y").code == 250
        assert rcpt(site, "nobody+x").code == 550
        connections = server.connections
        for how in BEHAVIOURS:
            server.behave = how
            reply = rcpt(site, "known")
            assert reply.code == 451, how
            assert rcpt(site, "unknown").code == 451, how
            server.behave = None
            until(lambda: rcpt(site, "known").code == 250, f"answers again after {how}", 30)
            assert rcpt(site, "unknown").code == 550, how
        assert connections < server.connections
        assert len(site.log_lines("smar", "ar.socket_map")) == 1
        # Away, and back.
        server.stop()
        for _ in range(3):
            assert rcpt(site, "known").code == 451
            assert rcpt(site, "unknown").code == 451
        server.start()
        until(lambda: rcpt(site, "known").code == 250, "the server is found again", 30)
        assert rcpt(site, "unknown").code == 550


def test_away_from_the_beginning():
    port = free_port()
    site = site_with(f"map users {{ type = socket; mapname = people; address = 127.0.0.1; port = {port}; }} local_user_map {{ name = users; }}")
    with site:
        assert rcpt(site, "known").code == 451
        with SocketMap(port=port) as server:
            server.answers["known"] = "OK local:"
            until(lambda: rcpt(site, "known").code == 250, "the server is found", 30)


def add_user(name):
    subprocess.run(["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", name], check=True)


def test_users_of_the_system():
    site = site_with("map users { type = passwd; } local_user_map { name = users; }")
    with site:
        me = pwd.getpwuid(os.getuid()).pw_name
        for user in ("daemon", me, me.upper()):
            assert rcpt(site, user).code == 250
        for user in ("no-such-user", me + "+detail", me + "x", '"a b"'):
            assert rcpt(site, user).code == 550


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to add a user")
def test_a_new_user_of_the_system():
    """useradd replaces /etc/passwd: smar may read the new one, too."""
    site = site_with("map users { type = passwd; } local_user_map { name = users; }")
    name = f"smxt{os.getpid()}"
    with site:
        assert rcpt(site, name).code == 550
        add_user(name)
        try:
            until(lambda: rcpt(site, name).code == 250, "the new user is seen", 60)
        finally:
            subprocess.run(["userdel", name], check=True)


def test_regular_expressions():
    site = site_with('map users { type = regex; file = "@/users"; } local_user_map { name = users; } map_check_interval = 200ms;')

    def write(text):
        with open(os.path.join(site.dir, "users.new"), "w") as f:
            f.write(text)
        os.chmod(os.path.join(site.dir, "users.new"), 0o644)
        os.rename(os.path.join(site.dir, "users.new"), os.path.join(site.dir, "users"))

    write("/^sales-[a-z]+$/ local:\n/^(a+)+$/ local:\n")
    with site:
        assert rcpt(site, "Sales-Europe").code == 250
        assert rcpt(site, "sales-1").code == 550
        # One that takes too long is a failure, and nobody waits for it.
        assert rcpt(site, "a" * 59 + "b").code == 451
        write("/^sales-[a-z]+$/ local:\n/(/ local:\n")
        until(lambda: site.log_lines("smar", "ar.maps"), "the broken one is seen", 30)
        assert "missing closing parenthesis" in site.log_lines("smar", "ar.maps")[-1]
        assert rcpt(site, "sales-europe").code == 250
        write("/^sales-[0-9]+$/ local:\n")
        until(lambda: rcpt(site, "sales-1").code == 250, "the new one is in use", 30)
