"""The parts of checks/bench/run: cases.py says what is measured, peers.py who, relay.py, queued.py, idle.py and events.py how, report.py shows it."""
