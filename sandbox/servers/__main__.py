"""`python -m sandbox.servers`: make sure that all servers can be started here, and say where their programs are."""

import sys

from sandbox.servers.provision import Provisioner, ProvisionError, report_to_stderr


def main() -> int:
    """Return 0, or 1 with the reason on standard error."""
    try:
        for program in Provisioner().everything():
            report_to_stderr(f"found {program}")
    except ProvisionError as error:
        report_to_stderr(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
