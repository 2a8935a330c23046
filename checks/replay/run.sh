#!/bin/sh
# Plays all scenarios (*.scn, beside this) with checks/replay/replay of the build directory.
status=0
for f in "$(dirname "$0")"/*.scn; do
	checks/replay/replay "$f" || { echo "FAILED: $f" && status=1; }
done
exit $status
