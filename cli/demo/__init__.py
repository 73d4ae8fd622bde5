"""The story that `visitnow demo` plays: over HTTP only, as any client would."""
