"""Tests against real servers; pure rules by plain tests and properties."""
