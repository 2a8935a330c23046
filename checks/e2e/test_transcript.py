"""qmgrctl transcript: what was said in sessions, for mail that an operator chooses."""
import base64
import json

import pytest
from lib.client import message
from lib.sink import Serve, Sink
from lib.site import Site
from lib.tls_world import send, world  # noqa: F401 (a fixture)
from lib.wait import until

pytestmark = pytest.mark.inside
SECRET = "Tr0ub4dor 3;x"


@pytest.fixture(scope="module")
def site(sink):
    with Site(routes=[f"{d} {sink.port}^esmtp:[127.0.0.1]" for d in ("seen.test", "other.test", "src.test")], relay=["seen.test", "other.test"],
              settings={"smtpc.session_idle_timeout": "0s"}) as s:
        yield s


@pytest.fixture(autouse=True)
def nothing_wanted(request):
    yield
    if "site" in request.fixturenames:
        request.getfixturevalue("site").qmgrctl("transcript", "off", check=False)


def submit(site, rcpts, content, sender="a@src.test"):
    """The id of the mail."""
    with site.client() as c:
        r = c.send_mail(sender, rcpts, content)
        assert r.code == 250
        return next(w for w in r.text.split() if w.startswith("S00"))


def asked(site, *words):
    return [json.loads(x) for x in site.qmgrctl("-j", "transcript", *words, check=False).splitlines() if x.startswith("{")]


def of_mail(site, ta):
    """The lines of a mail that is over: (who, text)."""
    until(lambda: ta not in site.qmgrctl("list", check=False), "the mail is over")
    return [(x["who"], x["text"]) for x in asked(site, ta) if x["type"] == "said"]


def test_of_a_domain(site, sink, tag):
    site.qmgrctl("transcript", "on", "domain=seen.test")
    ta = submit(site, ["x@seen.test", "y@seen.test"], message(tag, b"the secret of the body\r\n"))
    other = submit(site, "x@other.test", message(tag + "-other"))
    got = sink.wait(tag)[0]
    sink.wait(tag + "-other")
    lines = of_mail(site, ta)
    said = [t for who, t in lines if who == "smtpc"]
    assert said[0].startswith("EHLO ") and said[1].startswith("MAIL FROM:<a@src.test>")
    assert [s for s in said if s.startswith("RCPT")] == ["RCPT TO:<x@seen.test>", "RCPT TO:<y@seen.test>"]
    assert any(s.startswith("<") and s.endswith(" bytes>") for s in said)
    assert lines[0] == ("note", f"connecting to [127.0.0.1] at 127.0.0.1:{sink.port}")
    assert lines[-1][0] == "server" and lines[-1][1].startswith("250")
    head, = [x for x in asked(site, ta) if x["type"] == "transcript"]
    assert [(r["index"], r["rcpt"]) for r in head["rcpts"]] == [(0, "x@seen.test"), (1, "y@seen.test")] and head["id"] == ta
    text = site.qmgrctl("transcript", ta)
    assert "body" not in text and tag not in text and "> RCPT TO:<x@seen.test>" in text and "< 250" in text
    assert got.rcpts == ["x@seen.test", "y@seen.test"]
    assert of_mail(site, other) == []
    assert site._run([site.dir + "/qmgrctl", "transcript", other], check=False).returncode == 1


@pytest.mark.parametrize("condition", ["sender=me@src.test", "rcpt=z*@seen.test", "host=[[]127.0.0.1]", "dest=127.0.0.1"])
def test_conditions(site, sink, tag, condition):
    """Of hosts: those that it is about to go to."""
    site.qmgrctl("transcript", "on", condition.replace("[[]", "["))
    ta = submit(site, "zoe@seen.test", message(tag), sender="me@src.test")
    sink.wait(tag)
    assert of_mail(site, ta)


def test_list_and_off(site, sink, tag):
    first = asked(site, "on", "domain=a.test")[0]["number"]
    asked(site, "on", "--for", "2h", "age>1h", "sender=x")
    listed = [x for x in asked(site, "list") if x["type"] == "wish"]
    assert [x["conditions"] for x in listed] == ["domain=a.test", "age>1h sender=x"] and listed[0]["number"] == first
    assert 3590 < listed[0]["until_s"] - listed[0]["since_s"] <= 3600 and listed[1]["until_s"] - listed[1]["since_s"] == 7200
    site.qmgrctl("transcript", "off", str(first))
    assert [x["conditions"] for x in asked(site, "list") if x["type"] == "wish"] == ["age>1h sender=x"]
    site.qmgrctl("transcript", "off")
    assert not [x for x in asked(site, "list") if x["type"] == "wish"]
    ta = submit(site, "x@seen.test", message(tag))
    sink.wait(tag)
    assert of_mail(site, ta) == []


def test_wrong_words(site):
    for words in (["on"], ["on", "all", "domain=x"], ["on", "nonsense"], ["on", "--for", "8d", "all"], ["off", "x"], ["nonsense"], []):
        assert site._run([site.dir + "/qmgrctl", "transcript", *words], check=False).returncode == 64, words


def test_it_ends_by_itself(site, sink, tag):
    site.qmgrctl("transcript", "on", "--for", "1s", "all")
    until(lambda: not [x for x in asked(site, "list") if x["type"] == "wish"], "its time is over")
    ta = submit(site, "x@seen.test", message(tag))
    sink.wait(tag)
    assert of_mail(site, ta) == []


def test_the_newest_try_counts(tag):
    """Of each recipient the last one; a restart forgets all."""
    with Sink() as odd:
        odd.default = Serve({"RCPT": lambda line: b"450 4.2.0 full of \x1b[31m\r\n" if b"late" in line and len(odd.messages) < 2 else b"250 2.1.5 fine\r\n"})
        with Site(routes=[f"odd.test {odd.port}^esmtp:[127.0.0.1]"], relay=["odd.test"], settings={"smtpc.session_idle_timeout": "0s"}) as s:
            s.qmgrctl("transcript", "on", "all")
            ta = submit(s, ["soon@odd.test", "late@odd.test"], message(tag))
            until(lambda: len(odd.messages) == 1, "one of them")

            def both():
                return [x for x in asked(s, ta) if x["type"] == "said"]
            lines = until(both, "there is one")
            assert any("full of \\x1B[31m" in x["text"] for x in lines)
            assert "transcripts  1: qmgrctl transcript " + ta in s.qmgrctl("show", ta)
            submit(s, "soon@odd.test", message(tag))
            until(lambda: s.qmgrctl("flush", check=False) and len(odd.messages) >= 3, "the other one as well", 30)
            of_mail(s, ta)
            heads = [[r["rcpt"] for r in x["rcpts"]] for x in asked(s, ta) if x["type"] == "transcript"]
            assert heads == [["soon@odd.test"], ["late@odd.test"]]
            s.stop()
            s.start()
            assert asked(s, ta) == []


@pytest.mark.parametrize("mech", ["PLAIN", "LOGIN", "SCRAM-SHA-256"])
def test_inside_tls_and_without_secrets(world, mech):  # noqa: F811
    server = world.server(users={"joe": SECRET}, mechs=(mech,))
    with world.site({"good.test": (server, "mx.good.test")}, auth=f'mx.good.test user = "joe"; password = "{SECRET}";\n') as s:
        s.qmgrctl("transcript", "on", "all")
        send(s, "a@good.test")
        server.wait()
        ta = until(lambda: s.log_lines("qmgr", "qm.end"), "it is over")[0].split("ss_ta=")[1].split(",")[0].split()[0]
        lines = of_mail(s, ta)
        said = [t for who, t in lines if who == "smtpc"]
        assert said.index("STARTTLS") < said.index(next(t for t in said if t.startswith("MAIL FROM"))) and sum(t.startswith("EHLO") for t in said) == 2
        assert any(who == "note" and t.startswith("TLS: TLSv1.3 ") for who, t in lines)
        assert any(t.startswith(f"AUTH {mech}") for t in said) and any("<hidden>" in t for _, t in lines)
        text = json.dumps(asked(s, ta))
        for secret in (SECRET, base64.b64encode(SECRET.encode()).decode(), base64.b64encode(b"\0joe\0" + SECRET.encode()).decode(), "am9l"):
            assert secret not in text
