"""What the stack can carry, measured against baselines of the same machine."""
