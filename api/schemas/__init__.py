"""What goes over the wire: request bodies, which refuse unknown fields, and representations."""
