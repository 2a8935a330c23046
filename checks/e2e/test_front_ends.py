"""Real programs in front of smtps: haproxy with each version of its protocol, swaks with XCLIENT."""
import glob
import os
import shutil
import signal
import subprocess

import pytest
from lib.client import Client, message
from lib.debian import Unavailable, unpacked
from lib.paths import free_port
from lib.sections import listener
from lib.site import Site
from lib.wait import until

pytestmark = pytest.mark.inside


@pytest.fixture(scope="module")
def port():
    return free_port()


@pytest.fixture(scope="module")
def site(sink, dns, port):
    s = Site(routes=[f". {sink.port}^esmtp:[127.0.0.1]"], relay=["local.test"], dns=dns.address)
    s.add("smtps", listener(port, "behind") + "\nproxy { listeners = { behind }; from = { 127.0.0.1 }; }\nxclient { from = { 127.0.0.1 }; flags = { login }; }")
    with s:
        yield s


@pytest.fixture(scope="module")
def haproxy():
    """[program] as it is run: with libraries that only it needs."""
    try:
        program = os.path.join(unpacked("haproxy"), "usr/sbin/haproxy")
        libraries = [d for p in ("libopentracing-c-wrapper0", "libopentracing1") for d in glob.glob(os.path.join(unpacked(p), "usr/lib/*"))]
    except Unavailable as e:
        pytest.skip(str(e))
    run = ["env", "LD_LIBRARY_PATH=" + ":".join(libraries), program]
    if subprocess.run([*run, "-v"], capture_output=True).returncode:
        pytest.skip("its libraries are not here")
    return run


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id", "send-proxy check"])
def test_haproxy(site, sink, haproxy, port, tag, tmp_path, how):
    front = free_port()
    conf = tmp_path / "haproxy.cfg"
    conf.write_text("global\n    maxconn 100\ndefaults\n    mode tcp\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
                    "    unique-id-format %{+X}o\\ %ci:%cp\n"
                    f"listen smtp\n    bind 127.0.0.1:{front}\n    server smx 127.0.0.1:{port} {how}\n")
    p = subprocess.Popen([*haproxy, "-f", str(conf), "-db"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        def answers():
            try:
                with Client(front, source="127.0.0.77") as c:
                    return c.greeting.code == 220
            except OSError:
                return False
        until(answers, "haproxy is there", 20)
        subject = "".join(x if x.isalnum() else "-" for x in tag)
        with Client(front, source="127.0.0.77") as c:
            assert c.send_mail("me@src.test", "you@local.test", message(subject)).code == 250
        m, = sink.wait(subject)
        assert b"[127.0.0.77]" in m.header.split(b"\r\n\tby")[0], m.header
        assert any("client_ipv4=127.0.0.77" in x and "via=127.0.0.1:" in x for x in site.log_lines("smtps", "ss.connect"))
    finally:
        p.send_signal(signal.SIGTERM)
        p.wait(30)


@pytest.mark.skipif(not shutil.which("swaks"), reason="no swaks")
@pytest.mark.parametrize("proxy", ["1", "2"])
def test_swaks_proxy(site, sink, port, tag, proxy):
    subject = "".join(x if x.isalnum() else "-" for x in tag)
    r = subprocess.run(["swaks", "--server", f"127.0.0.1:{port}", "--from", "me@src.test", "--to", "you@local.test", "--header", f"Subject: {subject}",
                        "--proxy-version", proxy, "--proxy-family", "TCP4" if proxy == "1" else "AF_INET", "--proxy-source", "192.0.2.9", "--proxy-source-port", "4000",
                        "--proxy-dest", "198.51.100.1", "--proxy-dest-port", "25", *(["--proxy-protocol", "STREAM", "--proxy-command", "PROXY"] if proxy == "2" else [])],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr
    m, = sink.wait(subject)
    assert b"[192.0.2.9]" in m.header.split(b"\r\n\tby")[0], m.header


@pytest.mark.skipif(not shutil.which("swaks"), reason="no swaks")
def test_swaks_xclient(site, sink, tag):
    r = subprocess.run(["swaks", "--server", f"127.0.0.1:{site.port}", "--from", "me@src.test", "--to", "you@far.test", "--header", f"Subject: {tag}",
                        "--xclient-addr", "192.0.2.8", "--xclient-name", "eight.example", "--xclient-helo", "hello.example", "--xclient-login", "user"],
                       capture_output=True, text=True)
    assert r.returncode == 0, r.stdout + r.stderr
    m, = sink.wait(tag)
    assert b"(eight.example [192.0.2.8])" in m.header and b"with ESMTPA" in m.header, m.header
