"""`python -m cli` is `visitnow`: how the stack starts its own children, wherever the script is installed."""

from cli.main import app

app(prog_name="visitnow")
