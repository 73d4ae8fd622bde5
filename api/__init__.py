"""Composition root of HTTP: the application, its routers, guards and problem answers."""
