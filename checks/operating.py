#!/usr/bin/python3
"""Plays the sessions of doc/operating.md on a real site (lib/operating.py) and says where the page is stale.

    SMX_BUILD=DIR checks/operating.py            compares
    SMX_BUILD=DIR checks/operating.py --write    puts what was printed into the page
"""
import argparse
import sys

from lib import operating


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--write", action="store_true", help="put what was printed into the page")
    write = p.parse_args().write
    with open(operating.PAGE, encoding="utf-8") as f:
        text = f.read()
    steps = operating.parse(text)
    with operating.Stage() as stage:
        wrong = [w for w in map(stage.play, steps) if w]
    for w in wrong:
        print(w, file=sys.stderr)
    if write:
        with open(operating.PAGE, "w", encoding="utf-8") as f:
            f.write(operating.rewritten(text, steps, stage.ids))
    return 1 if wrong and not write else 0


if __name__ == "__main__":
    sys.exit(main())
