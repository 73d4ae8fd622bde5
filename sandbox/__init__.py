"""The outside world on the wire: stand-ins that speak the protocols of the services the product buys.

Nothing here imports the product, so only base URLs and keys differ between these and the real services.
"""
