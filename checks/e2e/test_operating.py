"""doc/operating.md, the worked session for operators, is what smx does: played on a real site. Commands in other pages are such as qmgrctl takes."""
import os
import re
import subprocess

import pytest
from lib import operating
from lib.paths import BUILD, SRC, is_testing_build

pytestmark = [pytest.mark.inside, pytest.mark.skipif(not is_testing_build(), reason="only a testing build lets DNS name loopback addresses")]

PAGES = ("doc/operating.md", "doc/operator.md", "doc/formats.md", "doc/architecture.md", "README.md")


def test_page():
    with open(operating.PAGE, encoding="utf-8") as f:
        steps = operating.parse(f.read())
    commands = [s for s in steps if s.kind == "command"]
    assert len(commands) > 30
    assert {"summary", "why", "suspend", "resume", "flush", "dest", "reload", "hold", "list", "show", "remove", "release", "requeue", "stop", "start", "orphans", "status"} <= \
        {s.text.split()[1] for s in commands if s.text.startswith("qmgrctl ")}
    with operating.Stage() as stage:
        wrong = [w for w in map(stage.play, steps) if w]
    assert not wrong, "\n\n".join(wrong) + "\n\nchecks/operating.py --write puts what is printed into the page"


def test_a_stale_page_is_found():
    page = "<!-- scene an_account_is_stolen -->\n```\n$ qmgrctl status | head -2\nup for                 3h\naccepting mail         yes\n$ qmgrctl summary --by state | tail -1\n" \
        "     437      437       0   9.9K      2d     14m  in all\n{}\n```\n"
    said = []
    with operating.Stage() as stage:
        for step in operating.parse(page.format("$ qmgrctl dance\n$ qmgrctl list state=held\nno mail is such\n$ qmgrctl status | sed -n 3p\ndelivering mail        NO")):
            said.append(stage.play(step))
    assert said[:3] == [None, None, None]
    assert "ends with 64, not 0" in said[3] and "ends with 1, not 0" in said[4] and "it prints\n  delivering mail        yes" in said[5]


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page):
    """What stands between backticks, or in a block: the verb exists, and it takes these options."""
    with open(os.path.join(SRC, page), encoding="utf-8") as f:
        text = f.read()
    found = re.findall(r"`qmgrctl ([^`]+)`", text) + re.findall(r"(?m)^(?:\$ )?qmgrctl (.+)$", text)
    for words in found:
        words = re.sub(r"'[^']*'|\|.*|#.*", " ", words).split()
        verb = next((w for w in words if not w.startswith("-")), None)
        if verb in (None, "help", "VERB"):
            continue
        r = subprocess.run([os.path.join(BUILD, "misc/qmgrctl"), "help", verb], capture_output=True, text=True)
        assert r.returncode == 0, (page, words, r.stderr)
        for option in (w.partition("=")[0] for w in words if w.startswith("--")):
            assert f"[{option}" in r.stdout, (page, words, r.stdout)
