"""`python -m sandbox.servers`: make sure that all servers can be started here, and say where their programs are.

With `object-storage`: the one that only the tests of S3 need.
"""

import sys

from sandbox.servers.provision import Provisioner, ProvisionError, report_to_stderr


def main() -> int:
    """Return 0, or 1 with the reason on standard error."""
    try:
        provisioner = Provisioner()
        only_storage = sys.argv[1:] == ["object-storage"]
        for program in [provisioner.object_storage()] if only_storage else provisioner.everything():
            report_to_stderr(f"found {program}")
    except ProvisionError as error:
        report_to_stderr(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
