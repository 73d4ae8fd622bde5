"""Print LICENSES.md: the recorded licence of each installed dependency and of the servers that we start."""

import json
import re
import subprocess
import sys
from pathlib import Path

HEAD = """\
# Licences of what we use

Written by `make licenses` from what `requirements.lock` installs. Nothing of it is part of this repository.

| package | version | licence |
| --- | --- | --- |
"""

SERVERS = """
The servers are programs of their own, which the local stack starts and production runs elsewhere:

| server | licence |
| --- | --- |
| MongoDB (`mongod` 6.0) | Server Side Public License 1.0 |
| Valkey, or Redis up to 7.2 | BSD-3-Clause |
| Temporal server and command | MIT |
| versitygw (object storage) | Apache License 2.0 |
"""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Write the page to standard output."""
    command = [f"{sys.prefix}/bin/pip-licenses", "--format=json", "--from=mixed", "--with-system"]
    listed = subprocess.run(command, check=True, capture_output=True, timeout=60)
    locked = set(re.findall(r"^([a-z0-9-]+)==", Path("requirements.lock").read_text(), re.MULTILINE))
    rows = [
        f"| {row['Name']} | {row['Version']} | {' '.join(row['License'].split())} |\n"
        for row in sorted(json.loads(listed.stdout), key=lambda row: row["Name"].lower())
        if _normal(row["Name"]) in locked
    ]
    sys.stdout.write(HEAD + "".join(rows) + SERVERS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
